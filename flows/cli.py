"""The `nola` command. Each subcommand imports what it needs when it is called, so that help and wrong words cost nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from flows.commands import (
    adapt,
    audit,
    backbones,
    catalog,
    clean,
    collection,
    compare,
    completion,
    config,
    describe,
    doctor,
    explore,
    export,
    init,
    inspect,
    methods,
    predict,
    run,
    status,
)
from flows.commands.options import Command, Group, example, help_if_alone
from flows.commands.output import error, notice
from nola_core.errors import NolaError, system_sentence


class Nola(Group):
    """The commands of `nola` in the order of `PANELS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in PANELS.values() for name in names]


PANELS = {
    "Start": ("adapt", "init", "add", "remove", "catalog"),
    "Run": ("run", "server", "publish"),
    "Use": ("predict", "export"),
    "Look": ("explore", "audit", "compare", "inspect", "status"),
    "Describe": ("describe",),
    "Set up": ("config", "methods", "backbones", "clean", "doctor", "completion"),
}
PANEL = {name: panel for panel, names in PANELS.items() for name in names}

app = typer.Typer(
    cls=Nola,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"nola {version('nola')}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True, epilog=example("nola init, then nola add pets ~/photos --classes 'cat,dog', then nola run")
)
def nola(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Tune CLIP without labels: images and class names go in; predictions, a model and a report come out."""
    help_if_alone(context)


COMMANDS: dict[Callable[..., None], str] = {
    adapt.adapt: "nola adapt ~/photos --classes 'cat,dog,guinea pig' -o pets",
    init.init: "nola init ~/pets",
    collection.add: "nola add pets ~/photos --classes 'cat,dog,guinea pig' --backbones offline",
    collection.remove: "nola remove pets",
    run.run: "nola run --dataset digits --target tune",
    run.server: "nola server --port 4201",
    run.publish: "nola publish --dataset digits",
    status.status: "nola status digits",
    predict.predict: "nola predict pets ~/new-photos -o predictions.csv",
    export.export: "nola export pets -o pets-model",
    explore.explore: "nola explore digits",
    audit.audit: "nola audit pets --labels 50",
    compare.compare: "nola compare --with main --plot compare.png",
    config.config: "nola config --preset best",
    methods.methods: "nola methods",
    clean.clean: "nola clean",
    backbones.backbones: "nola backbones openai-b16+dinov3 --check",
    doctor.doctor: "nola doctor",
    completion.completion: "nola completion fish > ~/.config/fish/completions/nola.fish",
}
"""Function of a command -> the example in its help."""

for function, words in COMMANDS.items():
    app.command(cls=Command, rich_help_panel=PANEL[function.__name__], epilog=example(words))(function)
for name, group in {"catalog": catalog.app, "inspect": inspect.app, "describe": describe.app}.items():
    app.add_typer(group, name=name, rich_help_panel=PANEL[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 1 when something is wrong, 2 when the words are, 130 when interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter the terminal does not know is no reason to stop
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # the reader has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python still flushes at its end
        return 1
    return status


def _run(words: list[str]) -> int:
    try:
        status = typer.main.get_command(app).main(args=words, prog_name="nola", standalone_mode=False)
    except NolaError as problem:
        error(problem)
        return 1
    except typer.TyperException as problem:  # the words are wrong
        error(problem.format_message())
        context = getattr(problem, "ctx", None)
        if context is not None:
            notice(f"help: {context.command_path} --help")
        return problem.exit_code
    except BrokenPipeError:
        raise
    except OSError as problem:
        if problem.errno is None:  # a library's own
            raise
        error(system_sentence(problem))
        return 1
    return status or 0
