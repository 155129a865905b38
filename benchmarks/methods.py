"""All text and feature methods on the beds of benchmarks/beds.py, from cached features.

    python -m benchmarks.beds                         # once: embed digits and the photographs
    python -m benchmarks.methods                      # every method x bed x variant x seed, on the test images
    python -m benchmarks.methods --methods templates lda_em --beds digits --seeds 0
    python -m benchmarks.methods --settings FILE      # the race: settings of some methods, on the train images
    python -m benchmarks.methods --page               # run nothing; write the pages again

One row a cell is appended to methods-cells.csv (the race: methods-race.csv) in benchmarks/results. A cell that is there is not
run again, so an interrupted run goes on. methods.csv and .png and the tables of methods.md (methods-race.md) come from the cells;
`make docs` then writes the means into docs/methods.md.
FILE is YAML: method -> list of options, each a mapping of what differs from the defaults. `--options FILE`, method -> options,
gives the settings to test. Methods see no label.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from torch import Tensor

from benchmarks import beds, methods_page
from benchmarks.memory import forget_peak, peak
from nola_core.errors import NolaError
from nola_core.methods import registry
from nola_core.methods.collection import probabilities
from nola_core.methods.method import FeatureMethod, Fitted, TextMethod

RESULTS = Path(__file__).parent / "results"
KEY = ["dataset", "variant", "seed", "method", "options", "protocol"]
CELLS = [*KEY, "images", "top1", "zero_shot", "seconds", "peak_mb"]
SLOW = {"turtle": (0,)}
"""Seeds of methods that would take the others' time together."""
Settings = Mapping[str, Sequence[Mapping[str, Any]]]


def known() -> list[str]:
    """Methods of kind text and features."""
    return [name for name in registry.names() if isinstance(registry.find(name), TextMethod | FeatureMethod)]


def run(draw: beds.Draw, name: str, options: Mapping[str, Any]) -> tuple[Fitted, dict[str, Tensor], float, float]:
    """Fit a method and ask it; the fitted method, its answers by split, seconds, and the process's peak memory in MB."""
    method, features = registry.find(name), draw.features("test")
    forget_peak()
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if isinstance(method, TextMethod):
            fitted = method.fit(draw.bed.texts, options=method.section(**options))
        elif isinstance(method, FeatureMethod):
            fitted = method.fit(draw.collection, options=method.section(**options), seed=draw.seed)
        else:
            raise NolaError(f"{name} is a {method.kind} method, which this benchmark does not run.")
    asked = {"test": probabilities(fitted, features)}
    seconds, most = time.perf_counter() - start, peak()
    if fitted.transduced is not None:
        asked["train"] = fitted.transduced
    return fitted, asked, seconds, most


def cells(draw: beds.Draw, name: str, options: Mapping[str, Any], *, race: bool) -> list[dict[str, Any]]:
    """The rows of a method on a draw: inductive on the test images, and transductive on the train images where it is both.

    In the race there is one row, of the train images: transductive where the method is, else of the fitted method.
    """
    fitted, asked, seconds, most = run(draw, name, options)
    if race and "train" not in asked:
        asked["train"] = probabilities(fitted, draw.features("train"))
    told = {"dataset": draw.bed.name, "variant": draw.variant, "seed": draw.seed, "method": name, "options": _text(options)}
    rows = []
    for split, answers in asked.items():
        protocol = "inductive" if split == "test" else "train" if race else "transductive"
        if race == (split == "train") or not race:
            part = draw.train if split == "train" else draw.test
            base = probabilities(draw.bed.text, draw.features(split))
            scores = {"top1": top1(answers, part.labels), "zero_shot": top1(base, part.labels)}
            rows.append({**told, "protocol": protocol, "images": len(part.labels), **scores, "seconds": round(seconds, 2), "peak_mb": round(most)})  # fmt: skip  # noqa: E501
    return rows


def top1(answers: Tensor, labels: np.ndarray) -> float:
    """In percent."""
    return round(100 * float(np.mean(answers.argmax(dim=1).numpy() == labels)), 3)


def task(bed: str, variant: str, seeds: Sequence[int], settings: Settings, file: Path, race: bool) -> None:
    """All cells of a variant of a bed that are not in `file`; each is appended when it is done."""
    skipped: set[str] = set()
    done = set(read(file)[KEY[:5]].itertuples(index=False, name=None)) if file.is_file() else set()
    for seed in seeds:
        wanted = [
            (name, options)
            for name, several in settings.items()
            for options in several
            if (bed, variant, seed, name, _text(options)) not in done and seed in SLOW.get(name, seeds)
        ]
        draw = _bed(bed).draw(variant, seed) if wanted else None
        for name, options in wanted:
            assert draw is not None
            if name in skipped:
                continue
            try:
                rows = cells(draw, name, options, race=race)
            except NolaError as error:
                print(f"{bed}, {variant}: {name} is skipped: {error}", flush=True)
                skipped.add(name)
                continue
            with file.open("a") as out:  # one write a cell: several processes append to one file
                out.write(pd.DataFrame(rows, columns=CELLS).to_csv(index=False, header=False))


def read(file: Path) -> pd.DataFrame:
    """The cells of a file."""
    return pd.read_csv(file, keep_default_na=False, dtype={"options": str})


@lru_cache(maxsize=1)
def _bed(name: str) -> beds.Bed:
    """A bed, kept until the next is asked for."""
    return beds.load(name)


def _text(options: Mapping[str, Any]) -> str:
    """Options as they stand in a table."""
    return json.dumps(dict(options), sort_keys=True) if options else ""


def _tasks(names: Sequence[str], variants: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Variants of the beds there are, a bed's variants one after the other."""
    return ((bed, variant) for bed in beds.available(names) for variant in variants)


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, then write tables, page and picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", help="default: all of kind text and features")
    parser.add_argument("--beds", nargs="+", choices=beds.BEDS, default=list(beds.BEDS))
    parser.add_argument("--variants", nargs="+", choices=beds.VARIANTS, default=list(beds.VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(beds.SEEDS))
    parser.add_argument("--settings", type=Path, help="run the race of these settings on the train images")
    parser.add_argument("--options", type=Path, help="YAML: method -> its options, where they differ from the defaults")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="run nothing")
    arguments = parser.parse_args(argv)
    race = arguments.settings is not None
    file = arguments.results / ("methods-race.csv" if race else "methods-cells.csv")
    if not arguments.page:
        settings: Settings
        if race:
            settings = yaml.safe_load(arguments.settings.read_text())
            settings = {name: settings[name] for name in arguments.methods or settings}
        else:
            given = yaml.safe_load(arguments.options.read_text()) if arguments.options else {}
            settings = {name: [given.get(name, {})] for name in arguments.methods or known()}
        arguments.results.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            file.write_text(",".join(CELLS) + "\n")
        os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.jobs, mp_context=context) as pool:
            running = [
                pool.submit(task, bed, variant, arguments.seeds, settings, file, race)
                for bed, variant in _tasks(arguments.beds, arguments.variants)
            ]
            for one in running:
                one.result()
    methods_page.write_race(read(file), arguments.results) if race else methods_page.write(read(file), arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
