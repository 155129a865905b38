"""Run one stage: `python -m nola_core.stages NAME --dataset DATASET [--role clip|ssl]`, or `resolve`, the first of all."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from nola_core import inputs
from nola_core.device import keep_memory
from nola_core.durations import address, record
from nola_core.errors import NolaError, system_sentence
from nola_core.files import sweep
from nola_core.stages.paths import Paths
from nola_core.text import printable


def main(argv: list[str] | None = None) -> int:
    """Run one stage: 0, or one sentence on stderr and 1 (input or system are wrong), 130 (SIGINT), 143 (SIGTERM)."""
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
        return _said(str(error), 1)
    except OSError as error:
        if error.errno is None:  # a library's own, not the system's: a mistake of ours
            raise
        return _said(system_sentence(error), 1)
    except KeyboardInterrupt as stop:
        number = signal.Signals(*stop.args or (signal.SIGINT,))
        return _said(f"stopped by {number.name}; run it again to go on where it can.", 128 + number)
    return 0


def run_stage(root: Path, dataset: str, stage: str, role: inputs.Role | None = None) -> None:
    """Run a stage with its resolved inputs, make sure that they still hold at its end, and write down how long it took.

    Raises:
        NolaError: an input could not be resolved or changed meanwhile, or whatever the stage says.
    """
    begun = time.monotonic()
    if stage != "prepare":  # which holds one large image after another, and no tensors
        keep_memory()
    paths = Paths(root, dataset)
    sweep(paths.folder, paths.cache)
    mine = inputs.read(root, dataset, stage, role)
    inputs.check(root, dataset, stage, mine)
    run = importlib.import_module(f"nola_core.stages.{stage}").run
    run(paths, mine, role) if role else run(paths, mine)
    inputs.check(root, dataset, stage, mine)
    record(root, address(stage, dataset, role), time.monotonic() - begun)


def _said(sentence: str, status: int) -> int:
    print(*(f"error: {printable(line)}" for line in sentence.splitlines()), sep="\n", file=sys.stderr)
    return status


def stop_on_signals() -> None:
    """Have SIGTERM and SIGINT raise KeyboardInterrupt(number), so that what is half made is removed; the second one kills.

    Python drops an exception that is raised in a finalizer or a weak reference's callback. The interrupt is then raised again, a
    moment later.
    """
    dropped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt(number)

    def again(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(dropped.pop())

    def unraisable(what: Any) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt) and what.exc_value.args:
            dropped.append(what.exc_value.args[0])
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        else:
            sys.__unraisablehook__(what)

    sys.unraisablehook = unraisable
    signal.signal(signal.SIGALRM, again)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)


if __name__ == "__main__":
    stop_on_signals()
    sys.exit(main())
