"""`nola predict` on 1,000 and on 10,000 images: its rate, its peak memory, and one row for every image, ten broken ones included.

    OMP_NUM_THREADS=2 python -m benchmarks.predict

The images are made (JPEG, 320 x 240 pixels), the model is fitted on some of them with the demo's pair. Writes
benchmarks/results/predict.csv and predict.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import nola_core
from benchmarks.methods import RESULTS
from benchmarks.methods_page import markdown
from nola_core.files import replacing

SIZES = (1_000, 10_000)
BROKEN = 10
FITTED = 60


def make(folder: Path, count: int) -> None:
    """`count` JPEG files, of which `BROKEN`, spread evenly, end in the middle."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    torn = set(np.linspace(0, count - 1, BROKEN).astype(int).tolist())
    for number in range(count):
        rough = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        path = folder / f"{number:05d}.jpg"
        rough.resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)
        if number in torn:
            path.write_bytes(path.read_bytes()[:300])


def measure(model: Path, images: Path, out: Path) -> dict[str, Any]:
    """Run the command in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())", "predict"]
    process = subprocess.Popen([*command, str(model), str(images), "-o", str(out)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(said)
    table = pd.read_csv(out)
    rate = re.search(r"images, ([\d.,]+) per second; ", said)
    assert rate is not None, said
    return {
        "images": len(table),
        "rows_with_a_reason": int(table["reason"].notna().sum()),
        "images_per_second": float(rate[1].replace(",", "")),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1),
    }


def page(table: pd.DataFrame) -> str:
    """The table as a page."""
    small, large = table.iloc[0], table.iloc[-1]
    times = f"{large['images'] / small['images']:.0f} times"
    lines = [
        "# `nola predict` on many images",
        "",
        "    OMP_NUM_THREADS=2 python -m benchmarks.predict",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}.",
        "",
        f"{times} the images take {large['peak_mb'] - small['peak_mb']:+,.0f} MB of memory. Of each collection {BROKEN} files",
        "are broken: each has its row, with the reason, and the command goes on.",
        "",
        *markdown(table.astype(object).map("{:,}".format)),
        "",
        "The images are made, JPEG of 320 x 240 pixels; the model is the demo's pair with the preset `best`. Larger towers are",
        "slower. `peak_mb` is the largest resident memory of the process, libraries included.",
        "",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, then write table and page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for count in arguments.images:
            make(place / str(count), count)
        some = sorted((place / str(min(arguments.images))).iterdir())[1 : FITTED + 1]
        settings = {"methods": ["zero_shot", "evidence"], "final": "evidence", "teacher": "evidence"}
        nola_core.adapt(some, ["sky", "leaf", "brick"], backbones="demo", settings=settings).save(place / "model")
        rows = [measure(place / "model", place / str(count), place / f"{count}.csv") for count in arguments.images]
    table = pd.DataFrame(rows)
    arguments.results.mkdir(parents=True, exist_ok=True)
    with replacing(arguments.results / "predict.csv") as file:
        table.to_csv(file, index=False)
    with replacing(arguments.results / "predict.md") as file:
        file.write_text(page(table))
    print(page(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
