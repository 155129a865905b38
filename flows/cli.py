"""The `nola` command: each subcommand imports what it needs when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.arguments import add_dataset_argument, add_definition_arguments, add_run_arguments, guarded

CORE = {"inspect": "nola_core.inspect", "catalog": "nola_core.datasets.catalog.__main__"}
"""Commands that are commands of the core under another name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] and arguments[0] in CORE:  # their options are their own
        return guarded(lambda: _core(*arguments))
    parsed = _parser().parse_args(arguments)
    return guarded(lambda: _dispatch(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nola", description="Label-free tuning of CLIP.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run_arguments(commands.add_parser("run", help="run the pipeline over data sets, watched by Prefect"))
    add_dataset_argument(commands.add_parser("publish", help="publish finished data sets to Prefect"))
    commands.add_parser("inspect", help="look into features, pseudo-labels and descriptions", add_help=False)
    commands.add_parser("catalog", help="the data sets of the papers: list, check, prepare", add_help=False)
    add_definition_arguments(commands.add_parser("add", help="define a collection of your own"))
    commands.add_parser("remove", help="take a collection out again").add_argument("name", metavar="NAME")
    server = commands.add_parser("server", help="start the Prefect interface on this machine")
    server.add_argument("--port", type=int, default=4200, help="default: 4200")
    return parser


def _dispatch(arguments: argparse.Namespace) -> None:
    if arguments.command == "run":
        from flows.pipeline import run_pipeline

        run_pipeline(arguments.dataset, max_workers=arguments.max_workers, targets=arguments.target)
    elif arguments.command == "publish":
        from flows.publish import run_publish

        run_publish(arguments.dataset)
    elif arguments.command == "add":
        _add(arguments)
    elif arguments.command == "remove":
        from nola_core.registration import remove

        remove(Path(), arguments.name)
        print(f"removed data/{arguments.name}.yaml and its name in params.yaml; data/{arguments.name}/ is left as it is")
    else:
        from flows.server import serve

        serve(arguments.port)


def _add(arguments: argparse.Namespace) -> None:
    from nola_core.registration import add

    options = {key: value for key, value in vars(arguments).items() if key not in ("command", "name", "source")}
    found = add(Path(), arguments.name, arguments.source, **options)
    images = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
    print(f"{arguments.name}: {images} images (reader {found.reader}), {len(found.classes)} classes: {_some(found.classes)}")
    print(f"wrote data/{arguments.name}.yaml and its name into params.yaml")
    if found.warning:
        print(f"warning: its backbones cannot work yet: {found.warning}")
    print(f"next: nola run --dataset {arguments.name}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _core(command: str, *arguments: str) -> int | None:
    status: int | None = importlib.import_module(CORE[command]).main(list(arguments))
    return status
