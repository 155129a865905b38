"""The real command line reads words that a page or a report says, without running them."""

from __future__ import annotations

from typing import Any

import typer

from flows.cli import app


def parse(words: list[str]) -> None:
    """An unknown command or option, or a missing argument, is an error."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("nola", list(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None, words
        context = command.make_context(name, rest, parent=context)
