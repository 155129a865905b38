"""What the command lines share, apart so that `nola --help` loads nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from nola_core.errors import NolaError
from nola_core.text import printable


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


def add_definition_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nola add` takes."""
    parser.add_argument("name", metavar="NAME", help="of the data set: a-z, 0-9 and _")
    parser.add_argument("source", metavar="SOURCE", help="a folder, a table, a .tar shard or a pattern of shards")
    parser.add_argument("--classes", help="a,b,c; a text file with one a line; folders; reader. Default: what the source knows")
    parser.add_argument("--reader", help="default: guessed from the source")
    parser.add_argument("--dataset", metavar="CLASS", help="read SOURCE as the root of this class of torchvision.datasets")
    parser.add_argument("--catalog", metavar="NAME", help="SOURCE is this data set of `nola catalog`")
    parser.add_argument("--labels", choices=["none", "folders", "reader"], help="ground truth; default: none")
    parser.add_argument("--templates", nargs="+", default=(), metavar="TEXT", help="with {} for the class name")
    parser.add_argument("--descriptions", metavar="FILE", help="a CSV or Parquet table of sentences about the classes")
    parser.add_argument("--backbones", metavar="PAIR", help="default: embed.backbones of params.yaml")
    parser.add_argument("--outside", action="store_true", help="let a table name images outside of its folder; see docs/data.md")
    parser.add_argument("--force", action="store_true", help="replace a data set of that name")


def guarded(action: Callable[[], int | None]) -> int:
    """Run a command: each line of a `NolaError` becomes `error: ...` and status 1, an interruption status 130."""
    try:
        return action() or 0
    except NolaError as error:
        for line in str(error).splitlines():
            print(f"error: {printable(line)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
