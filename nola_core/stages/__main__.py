"""Run one stage: `python -m nola_core.stages NAME --dataset DATASET [--role clip|ssl]`, or `resolve`, the first of all."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from nola_core import inputs
from nola_core.device import keep_memory
from nola_core.errors import NolaError
from nola_core.stages.paths import Paths
from nola_core.text import printable


def main(argv: list[str] | None = None) -> int:
    """Run one stage; 1 and one sentence on stderr when the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.stages", description=__doc__)
    parser.add_argument("stage", choices=("resolve", *inputs.STAGES))
    parser.add_argument("--dataset", help="one of the `datasets` of params.yaml")
    parser.add_argument("--role", choices=["clip", "ssl"], help="which backbone; for embed alone")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    arguments = parser.parse_args(argv)
    if (arguments.stage == "embed") != (arguments.role is not None):
        parser.error("embed, and embed alone, takes --role clip or --role ssl")
    if (arguments.stage == "resolve") == (arguments.dataset is not None):
        parser.error("every stage but resolve takes --dataset")
    try:
        if arguments.stage == "resolve":
            inputs.write(arguments.root)
        else:
            run_stage(arguments.root, arguments.dataset, arguments.stage, arguments.role)
    except NolaError as error:
        print(*(f"error: {printable(line)}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return 1
    return 0


def run_stage(root: Path, dataset: str, stage: str, role: inputs.Role | None = None) -> None:
    """Run a stage with its resolved inputs, and make sure that they still hold at its end.

    Raises:
        NolaError: an input could not be resolved or changed meanwhile, or whatever the stage says.
    """
    if stage != "prepare":  # which holds one large image after another, and no tensors
        keep_memory()
    mine = inputs.read(root, dataset, stage, role)
    inputs.check(root, dataset, stage, role, mine)
    run = importlib.import_module(f"nola_core.stages.{stage}").run
    paths = Paths(root, dataset)
    run(paths, mine, role) if role else run(paths, mine)
    inputs.check(root, dataset, stage, role, mine)


if __name__ == "__main__":
    sys.exit(main())
