"""The page benchmarks/results/audit.md."""

from pathlib import Path

import pandas as pd


def write(table: pd.DataFrame, folder: Path) -> None:
    return
