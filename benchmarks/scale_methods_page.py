"""Page and picture of benchmarks/scale_methods.py."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

NAME = "scale-methods"
COLUMNS = [
    "method",
    "rows",
    "fit_seconds",
    "answer_seconds",
    "seconds",
    "cpu_seconds",
    "us_per_image",
    "peak_mb",
    "recall",
    "top1",
    "top1_transductive",
    "threads",
    "load",
]


def write(table: pd.DataFrame, folder: Path, *, trained, left_out) -> str:
    return ""
