"""The command lines of `python -m flows.pipeline` and `python -m flows.publish`, for machines; people use `nola`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from flows.commands.output import error
from nola_core.errors import NolaError


def add_dataset_argument(parser: argparse.ArgumentParser) -> None:
    """`--dataset NAME`, repeatable."""
    parser.add_argument(
        "--dataset", action="append", metavar="NAME", help="a data set of params.yaml; may be repeated; default: all"
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What the flow takes."""
    add_dataset_argument(parser)
    parser.add_argument(
        "--target",
        action="append",
        metavar="STAGE",
        help="stop after this stage, e.g. tune or tune@digits; may be repeated",
    )
    parser.add_argument("--max-workers", type=int, default=2, metavar="N", help="stages at the same time; default: 2")


def guarded(action: Callable[[], int | None]) -> int:
    """Run a command: each line of a `NolaError` becomes `error: ...` and status 1, an interruption status 130."""
    try:
        return action() or 0
    except NolaError as problem:
        error(problem)
        return 1
    except KeyboardInterrupt:
        return 130
