"""Seconds, rows per second and peak memory of every stage on collections of 1,000 to 100,000 tiny images.

    python -m benchmarks.scale --rows 1000 10000                           # every stage
    python -m benchmarks.scale --rows 100000 --stages prepare embed-clip   # some
    python -m benchmarks.scale --made 10000 100000 1280000 --classes 1000  # stages without images, on synthetic features

Images are PNGs of 16 x 16 pixels in one Parquet table, the backbones are the demo's, and `tune` runs one epoch. Every stage runs
in its own process; its time and memory are read from the kernel when it ends. Writes benchmarks/results/scale.csv and scale.md,
and keeps rows of earlier runs that are not measured again. With `--made`: scale-made.csv, .md and .png (see
benchmarks.scale_made).
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from benchmarks import scale_made
from benchmarks.accuracy import RESULTS
from benchmarks.watch import ROOT, watch
from nola_core.files import replacing

STAGES: tuple[str, ...] = ("prepare", "describe", "embed-clip", "embed-ssl", "duplicates", "classify", "select", "fit")
STAGES += ("tune", "predict", "evaluate", "report")
COLUMNS = ["rows", "stage", "seconds", "rows_per_second", "peak_mb", "load"]
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROWS_AT_ONCE = 1000


def make_project(root: Path, rows: int) -> None:
    """A project with one data set `many` of so many images, 80 % of them to train on, and no labels."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = ["many"]
    params["nola"] = params.get("nola", {}) | {"epochs": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    definition = {
        "source": "many.parquet",
        "images": {"reader": "table", "holdout": 0.2, "labels": "none"},
        "classes": list(CLASSES),
        "templates": ["a photo of the digit {}."],
        "backbones": "demo",
    }
    (root / "data").mkdir()
    (root / "data" / "many.yaml").write_text(yaml.safe_dump(definition))
    write_images(root / "many.parquet", rows)


def write_images(path: Path, rows: int) -> None:
    """A table of distinct PNGs of random noise."""
    rng = np.random.default_rng(0)
    schema = pa.schema([("image", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, rows - start)
            pixels = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
            writer.write_table(pa.table({"image": [encoded(image) for image in pixels]}, schema=schema))


def encoded(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [H, W, 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def measure(root: Path, stage: str, rows: int) -> dict[str, Any]:
    """Run a stage in its own process and measure its time and memory."""
    name, _, role = stage.partition("-")
    words = ["-m", "nola_core.stages", name, "--dataset", "many", "--root", str(root), *(["--role", role] if role else [])]
    needed = watch(words, root=root)
    values = [rows, stage, needed.seconds, round(rows / needed.seconds, 1), needed.peak_mb, needed.load]
    return dict(zip(COLUMNS, values, strict=True))


def save(measured: list[dict[str, Any]], folder: Path) -> None:
    """Write scale.csv and scale.md; earlier rows stay unless they were measured again."""
    path = folder / "scale.csv"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(measured, columns=COLUMNS)
    if path.is_file():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(["rows", "stage"], keep="last")
    table["order"] = table["stage"].map(STAGES.index)
    table = table.sort_values(["order", "rows"]).drop(columns="order")
    with replacing(path) as scratch:
        table.to_csv(scratch, index=False)
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "pyarrow"))
    lines = [
        "# Scale",
        "",
        "    python -m benchmarks.scale --rows ... --stages ...",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}.",
        "",
        "PNGs of 16 x 16 pixels in one Parquet table, the demo's backbones, one epoch of `tune`. Every stage runs in its own",
        "process;",
        "starting Python and loading models are included. `peak_mb` is the largest resident memory in MB and `load` the load",
        "average",
        "at the end. If the load is above the number of cores, other programs were running and `seconds` is too high. Stages",
        "without",
        "a row were not run at that size.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)),
        "",
    ]
    with replacing(folder / "scale.md") as scratch:
        scratch.write_text("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """Measure the stages in order and save after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=STAGES, help="default: all; each stage needs the ones before it"
    )
    parser.add_argument(
        "--made", type=int, nargs="+", metavar="IMAGES", help="use synthetic features of this many images, without images"
    )
    parser.add_argument("--classes", type=int, default=1000, help="with --made: number of classes")
    parser.add_argument(
        "--folder", type=Path, help="with --made: keep the collections here for later runs; default: a temporary folder"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    if arguments.made:
        options = {"stages": arguments.stages, "results": arguments.results, "folder": arguments.folder}
        scale_made.run(arguments.made, arguments.classes, **options)
        return 0
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            make_project(Path(folder), rows)
            for stage in (stage for stage in STAGES if stage in arguments.stages):
                print(f"{stage}, {rows:,} rows", flush=True)
                save([measure(Path(folder), stage, rows)], arguments.results)
    print((arguments.results / "scale.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
