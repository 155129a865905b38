"""Seconds and peak memory of every method on features, on 10,000 to 1,000,000 made images of 100 classes in two spaces of 768.

    OMP_NUM_THREADS=2 python -m benchmarks.scale_methods                       # everything
    python -m benchmarks.scale_methods --rows 10000 100000 --methods evidence  # some
    python -m benchmarks.scale_methods --page                                  # run nothing; write page and picture again

Every method and size runs in a process of its own: it is fitted on all images, and then asked about all of them. `together`
runs all training-free methods after each other in one process, as stage `fit` does: what one searched the next need not. The
features are made once and read as memory maps; a smaller collection is the first rows of the largest. Rows that are measured
again replace the earlier ones in benchmarks/results/scale-methods.csv; scale-methods.md and .png are made of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import scale_methods_page
from benchmarks.memory import forget_peak, peak
from benchmarks.methods import RESULTS, known
from nola_core import pseudo_labels, text_classifier
from nola_core.device import keep_memory
from nola_core.errors import NolaError
from nola_core.files import replacing
from nola_core.methods import registry, templates
from nola_core.methods.collection import Collection, Descriptions, Space, Texts, answers
from nola_core.methods.method import FeatureMethod, TextMethod
from nola_core.prediction import prediction_table

ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
CLASSES, DIM, SENTENCES, SCALE = 100, 768, 5, 60.0
SPREAD = {"clip": 1.6, "ssl": 1.8}
"""Length of an image's deviation from its class centre, which has length 1; the i-th direction has a share of 1 / i of it."""
CONFUSION = 0.8
"""Length of a text's deviation from its class centre."""
TRAINED = ("amu", "turtle")
"""Methods that take gradient steps, a fixed number of them; measured, and listed apart."""
TOGETHER = "together"
SUMMED = ("fit_seconds", "answer_seconds", "seconds", "cpu_seconds", "us_per_image")
LEFT_OUT = ("alignment", "ensemble")
"""Train a head in epochs over the pseudo-labels, or contain one that does."""
PATTERNS = ["a photo of a {}.", "art of a {}."]
NAMES = [f"thing {number:03d}" for number in range(CLASSES)]
AT_ONCE = 1 << 15
FALLING = torch.arange(1, DIM + 1).float().rsqrt() / torch.arange(1, DIM + 1).float().reciprocal().sum().sqrt()


@cache
def centres(space: str) -> Tensor:
    """Unit rows, float32 [C, d], with the falling spectrum of the images."""
    draw = torch.Generator().manual_seed(len(space))
    return normalize(FALLING * torch.randn(CLASSES, DIM, generator=draw), dim=1)


def make(folder: Path, rows: int) -> None:
    """clip.npy and ssl.npy, float16 [rows, d], and labels.npy, int64 [rows]."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (rows,), generator=draw)
    np.save(folder / "labels.npy", labels.numpy())
    for name, spread in SPREAD.items():
        out = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float16, shape=(rows, DIM))
        for start in range(0, rows, AT_ONCE):
            mine = labels[start : start + AT_ONCE]
            noise = torch.randn(len(mine), DIM, generator=draw).mul_(FALLING * spread)
            out[start : start + AT_ONCE] = normalize(noise.add_(centres(name)[mine]), dim=1).half().numpy()
        out.flush()


def encode(texts: Sequence[str]) -> Tensor:
    """What stands for a text tower: near the centre of the class that is named, further by what else is said."""
    found = []
    for text in texts:
        draw = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))
        own = torch.Generator().manual_seed(number := int(re.search(r"thing (\d+)", text)[1]))  # type: ignore[index]
        away = torch.randn(DIM, generator=own) + 0.5 * torch.randn(DIM, generator=draw)
        found.append(centres("clip")[number] + CONFUSION * FALLING * away)
    return normalize(torch.stack(found), dim=1)


def texts() -> Texts:
    """Two templates and a few descriptions a class."""
    described = [[f"A {name} has property {row}." for row in range(SENTENCES)] for name in NAMES]
    return Texts(NAMES, text_classifier.fill(PATTERNS, NAMES), described, encode, SCALE, PATTERNS)


def collection(folder: Path, rows: int) -> Collection:
    """The first `rows` images; their pseudo-labels are made once, as the preset `paper` selects them."""
    spaces = {name: Space(np.load(folder / f"{name}.npy", mmap_mode="r")[:rows]) for name in SPREAD}
    known = texts()
    text = templates.METHOD.fit(known, options=templates.METHOD.section())
    ids = pd.Series([f"{row:07d}" for row in range(rows)])
    file = folder / f"pseudo-{rows}.parquet"
    if not file.is_file():
        table = prediction_table(ids, answers(text, spaces)(0, rows), split="train", method="templates").to_pandas()
        k = pseudo_labels.per_class(rows, CLASSES, fraction=0.2, minimum=16, maximum=None)
        chosen = pseudo_labels.select(table, NAMES, k=k, unpredicted="skip")
        chosen[chosen["selected"]].drop(columns="selected").to_parquet(file)
    rows_of = [sentence for mine in known.descriptions for sentence in mine]
    descriptions = Descriptions(torch.arange(CLASSES).repeat_interleave(SENTENCES), encode(rows_of))
    return Collection(NAMES, ids, spaces, text, pd.read_parquet(file), descriptions)


def measure(folder: Path, name: str, rows: int) -> dict[str, Any]:
    """Fit a method on `rows` images and ask it about all of them, or all training-free methods; a row of the table."""
    given, labels = collection(folder, rows), np.load(folder / "labels.npy", mmap_mode="r")
    keep_memory()  # as the stages do
    forget_peak()
    if name == TOGETHER:
        parts = [_measured(part, given, labels) for part in known() if part not in (*TRAINED, *LEFT_OUT)]
        row = parts[0] | {key: round(sum(part[key] for part in parts), 2) for key in SUMMED}
        row |= {"recall": np.nan, "top1": np.nan, "top1_transductive": np.nan}
    else:
        row = _measured(name, given, labels)
    return row | {"method": name, "peak_mb": round(peak())}


def _measured(name: str, given: Collection, labels: np.ndarray) -> dict[str, Any]:
    method, said, rows = registry.find(name), io.StringIO(), len(given.image_ids)
    start, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        if isinstance(method, TextMethod):
            fitted = method.fit(texts(), options=method.section())
        elif isinstance(method, FeatureMethod):
            fitted = method.fit(given, options=method.section(), seed=0)
        else:
            raise NolaError(f"{name} is a {method.kind} method, which this benchmark does not run.")
    between = time.perf_counter()
    asked = answers(fitted, given.spaces)
    right = 0
    for first in range(0, rows, AT_ONCE):
        found = asked(first, min(first + AT_ONCE, rows)).argmax(dim=1).numpy()
        right += int((found == labels[first : first + len(found)]).sum())
    end, cpu = time.perf_counter(), time.process_time() - cpu
    recall = re.search(r"finds ([\d.]+)% of the nearest", said.getvalue())
    return {
        "rows": rows,
        "fit_seconds": round(between - start, 2),
        "answer_seconds": round(end - between, 2),
        "seconds": round(end - start, 2),
        "cpu_seconds": round(cpu, 2),
        "us_per_image": round(1e6 * (end - start) / rows, 1),
        "recall": float(recall[1]) if recall else np.nan,
        "top1": round(100 * right / rows, 1),
        "top1_transductive": np.nan
        if fitted.transduced is None
        else round(100 * float(np.mean(fitted.transduced.argmax(dim=1).numpy() == labels[:rows])), 1),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


def _in_process(pipe: Connection, folder: Path, name: str, rows: int) -> None:
    pipe.send(measure(folder, name, rows))


def write(rows: Sequence[dict[str, Any]], folder: Path) -> pd.DataFrame:
    """Rows added to scale-methods.csv, instead of earlier ones of the same method and size; the whole table."""
    file = folder / f"{scale_methods_page.NAME}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(list(rows), columns=scale_methods_page.COLUMNS)
    if file.is_file():
        before = pd.read_csv(file)
        table = pd.concat([before, table], ignore_index=True) if len(table) else before
    table = table.drop_duplicates(["method", "rows"], keep="last").sort_values(["method", "rows"], ignore_index=True)
    with replacing(file) as scratch:
        table.to_csv(scratch, index=False)
    return table


def run(sizes: Sequence[int], methods: Sequence[str], *, folder: Path, results: Path) -> None:
    """Measure every method at every size, small ones first; results are written after each."""
    if not (folder / "labels.npy").is_file() or len(np.load(folder / "labels.npy", mmap_mode="r")) < max(sizes):
        print(f"making {max(sizes):,} images", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, max(sizes))
    context = multiprocessing.get_context("forkserver")  # a process for each, without importing torch again
    context.set_forkserver_preload(["benchmarks.methods", "nola_core.algebra.graph"])
    for rows in sorted(sizes):
        collection(folder, rows)  # makes the pseudo-labels
        for name in methods:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_in_process, args=(theirs, folder, name, rows))
            process.start()
            theirs.close()
            try:
                row = ours.recv()
            except EOFError:
                raise SystemExit(f"{name} failed on {rows:,} images") from None
            process.join()
            cost = f"{row['seconds']:8.2f} s ({row['cpu_seconds']:.2f} of CPU) {row['peak_mb']:6,} MB"
            told = "" if name == TOGETHER else f"  top-1 {row['top1']:.1f}"
            print(f"{rows:>9,} {name:18} {cost}{told}", flush=True)
            write([row], results)


def main(argv: list[str] | None = None) -> int:
    """Measure, then write page and picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_methods", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--methods", nargs="+", default=[*(name for name in known() if name not in LEFT_OUT), TOGETHER])
    parser.add_argument("--folder", type=Path, help="keep the features here for later runs; default: a temporary folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="run nothing")
    arguments = parser.parse_args(argv)
    if not arguments.page:
        with tempfile.TemporaryDirectory() as scratch:
            run(
                arguments.rows,
                arguments.methods,
                folder=arguments.folder or Path(scratch),
                results=arguments.results,
            )
    table = write([], arguments.results)
    print(scale_methods_page.write(table, arguments.results, trained=TRAINED, left_out=LEFT_OUT, together=TOGETHER))
    return 0


if __name__ == "__main__":
    sys.exit(main())
