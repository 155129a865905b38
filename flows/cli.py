"""The `nola` command: each subcommand imports what it needs when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from flows.arguments import add_dataset_argument, add_run_arguments, guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["inspect"]:  # its options are its own
        return guarded(lambda: _inspect(arguments[1:]))
    parsed = _parser().parse_args(arguments)
    return guarded(lambda: _dispatch(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nola", description="Label-free tuning of CLIP.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run_arguments(commands.add_parser("run", help="run the pipeline over data sets, watched by Prefect"))
    add_dataset_argument(commands.add_parser("publish", help="publish finished data sets to Prefect"))
    commands.add_parser("inspect", help="look into features, pseudo-labels and descriptions", add_help=False)
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
    else:
        from flows.server import serve

        serve(arguments.port)


def _inspect(arguments: list[str]) -> int | None:
    status: int | None = importlib.import_module("nola_core.inspect").main(arguments)
    return status
