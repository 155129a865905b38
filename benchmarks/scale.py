"""Seconds, rows a second and peak memory of every stage on collections of 1,000 to 100,000 tiny images.

    python -m benchmarks.scale --rows 1000 10000                           # every stage
    python -m benchmarks.scale --rows 100000 --stages prepare embed-clip   # some

Images are PNGs of 16 x 16 pixels in one Parquet table, the backbones those of the demo, `tune` runs one epoch. Every stage is a
process of its own; what it needed is read from the kernel when it ends. Writes benchmarks/results/scale.csv and scale.md, and
keeps the rows of earlier runs that it does not measure again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
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

from benchmarks.accuracy import RESULTS
from nola_core.files import replacing

ROOT = Path(__file__).parent.parent
STAGES: tuple[str, ...] = ("prepare", "describe", "embed-clip", "embed-ssl", "duplicates", "classify", "select", "align")
STAGES += ("tune", "predict", "evaluate", "report")
COLUMNS = ["rows", "stage", "seconds", "rows_per_second", "peak_mb", "load"]
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROWS_AT_ONCE = 1000

# A child is charged with the peak its parent had when it was started, so a process that has imported next to nothing starts the
# stage and writes [seconds, largest resident memory] for this one, which has imported torch.
WATCH = """
import json, os, sys, time
start = time.monotonic()
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
with open(sys.argv[1], "w") as out:
    json.dump([time.monotonic() - start, used.ru_maxrss], out)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


def make_project(root: Path, rows: int) -> None:
    """A project with one data set `many` of so many images, 80 % of them to train on, and no labels."""
    shutil.copytree(ROOT / "demo" / "clip", root / "demo" / "clip")
    shutil.copytree(ROOT / "demo" / "ssl", root / "demo" / "ssl")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = ["many"]
    params["tune"]["epochs"] = 1
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
    """A table of PNGs of noise, no two alike."""
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
    """Run a stage in a process of its own and read what it needed."""
    name, _, role = stage.partition("-")
    words = [sys.executable, "-m", "nola_core.stages", name, "--dataset", "many", "--root", str(root)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NOLA_CACHE": str(root / ".nola")}
    needed = root / "needed.json"
    watched = [sys.executable, "-I", "-S", "-c", WATCH, str(needed), *words, *(["--role", role] if role else [])]
    ended = subprocess.run(watched, env=environ, cwd=root, check=False).returncode
    if ended:
        raise SystemExit(f"{stage} at {rows:,} rows ended with status {ended}")
    seconds, largest = json.loads(needed.read_text())
    peak = largest / (2**20 if sys.platform == "darwin" else 2**10)
    values = [rows, stage, round(seconds, 1), round(rows / seconds, 1), round(peak), round(os.getloadavg()[0], 1)]
    return dict(zip(COLUMNS, values, strict=True))


def save(measured: list[dict[str, Any]], folder: Path) -> None:
    """Write scale.csv and scale.md; rows measured before stay unless they were measured again."""
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
        "PNGs of 16 x 16 pixels in one Parquet table, the demo's backbones, one epoch of `tune`; every stage in a process of its",
        "own, start of Python and loading of models included. `peak_mb` is the largest resident memory in MB, `load` the load",
        "average at the end: above the number of cores, other programs were running and the seconds are too many. A stage",
        "without a row was not run at that size.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)),
        "",
    ]
    with replacing(folder / "scale.md") as scratch:
        scratch.write_text("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """Measure stages in order and save after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="default: all; each needs those before it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
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
