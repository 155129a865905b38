"""Run one stage: `python -m nola_core.stages NAME --dataset DATASET [--role clip|ssl]`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from nola_core.device import keep_memory
from nola_core.errors import NolaError
from nola_core.stages.paths import Paths
from nola_core.text import printable

STAGES = (
    "prepare",
    "describe",
    "embed",
    "duplicates",
    "classify",
    "select",
    "align",
    "tune",
    "predict",
    "evaluate",
    "report",
)


def main(argv: list[str] | None = None) -> int:
    """Run one stage; 1 and one sentence on stderr when the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.stages", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--dataset", required=True, help="a name under `datasets:` in params.yaml")
    parser.add_argument("--role", choices=["clip", "ssl"], help="which backbone; for embed alone")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    arguments = parser.parse_args(argv)
    if (arguments.stage == "embed") != (arguments.role is not None):
        parser.error("embed, and embed alone, takes --role clip or --role ssl")
    if arguments.stage != "prepare":  # which holds one large image after another, and no tensors
        keep_memory()
    run = importlib.import_module(f"nola_core.stages.{arguments.stage}").run
    paths = Paths(arguments.root, arguments.dataset)
    try:
        run(paths, arguments.role) if arguments.role else run(paths)
    except NolaError as error:
        print(*(f"error: {printable(line)}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
