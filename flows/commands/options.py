"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flows.commands.project import complete_dataset

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="A data set that has been run.", autocompletion=complete_dataset)]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="A data set of params.yaml; may be repeated. Without it: all.",
        autocompletion=complete_dataset,
        show_default=False,
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help="A text with {} for the class name; may be repeated. Without it: 'a photo of a {}.'",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Leave out notices; errors are still shown.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class Command(TyperCommand):
    """A command whose help does not call a switch `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


def example(command: str) -> str:
    """The last line of a command's help."""
    return f"Example: [bold]{command}[/bold]"


def help_if_alone(context: typer.Context) -> None:
    """Print the help of a group of commands that was called without one."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _plain(options: list[Any]) -> list[Any]:
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options
