"""`nola describe`: sentences about the classes, from a language model or from files."""

from __future__ import annotations

import typer

from flows.commands.options import Command, Group, example, help_if_alone
from flows.commands.project import find_project

COMMANDS = {
    "prompts": "List the prompt sets, or print one.",
    "plan": "Say what a language model would be asked, and what it would cost.",
    "ask": "Ask it for what is missing.",
    "batch": "The same by the Batch API, at half the price.",
    "refine": "Ask what tells confused classes apart.",
    "caption": "Caption images, or four images at a time.",
    "import": "Turn published descriptions into a table for one class list.",
}
"""Command -> its purpose. Their options are those of `nola_core.descriptions`."""

app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True, epilog=example("nola describe plan --dataset digits"))
def describe(context: typer.Context) -> None:
    """Sentences about the classes, from a language model or from files."""
    help_if_alone(context)


def _delegate(context: typer.Context) -> None:
    """Hand the words that follow to the command of the core."""
    name, words = str(context.info_name), list(context.args)
    from nola_core.descriptions.__main__ import main

    if name != "prompts" and not any(word.startswith(("--root", "-h", "--help")) for word in words):
        words += ["--root", str(find_project())]
    raise typer.Exit(main([name, *words]))


for _name, _purpose in COMMANDS.items():
    app.command(
        _name,
        cls=Command,
        help=_purpose,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_delegate)
