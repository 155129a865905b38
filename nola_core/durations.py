"""How long each stage took when it last ran on this machine: for `nola status` and the report.

The record lies in the cache, one file a stage, because stages of one data set run side by side. It is no input of any stage: a
stage does not run again because another one took longer.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nola_core.device import cache_root
from nola_core.errors import NolaError
from nola_core.files import read_json, write_json


def address(stage: str, dataset: str, role: str | None = None) -> str:
    """What DVC calls a stage: `tune@digits`, `embed@digits-clip`."""
    return f"{stage}@{dataset}-{role}" if role else f"{stage}@{dataset}"


def durations(root: Path) -> dict[str, float]:
    """Address -> seconds of the last run on this machine; empty if none is recorded."""
    found: dict[str, float] = {}
    for path in sorted(_folder(root).glob("*.json")):
        with suppress(NolaError, OSError):
            seconds = read_json(path)
            if isinstance(seconds, (int, float)):
                found[path.stem] = float(seconds)
    return found


def record(root: Path, address: str, seconds: float) -> None:
    """Write down how long a stage took; a disk that is full or read-only is no reason to fail."""
    with suppress(NolaError, OSError):
        write_json(_folder(root) / f"{address}.json", round(seconds, 1))


def _folder(root: Path) -> Path:
    return root / cache_root() / "durations"
