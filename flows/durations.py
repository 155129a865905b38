"""How long each stage took when it last ran, for `nola status`."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from nola_core.device import cache_root
from nola_core.errors import NolaError
from nola_core.files import read_json, write_json

_lock = threading.Lock()


def durations(root: Path) -> dict[str, float]:
    """Address -> seconds of the last run on this machine; empty if none is recorded."""
    with suppress(NolaError, OSError):
        found = read_json(_path(root))
        if isinstance(found, dict):
            return {str(address): float(seconds) for address, seconds in found.items() if isinstance(seconds, (int, float))}
    return {}


def record(root: Path, address: str, seconds: float) -> None:
    """Write down how long a stage took; a disk that is full or read-only is no reason to fail."""
    with _lock, suppress(NolaError, OSError):
        write_json(_path(root), {**durations(root), address: round(seconds, 1)})


def _path(root: Path) -> Path:
    return root / cache_root() / "durations.json"
