"""The largest memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path


def forget_peak() -> None:
    """Give freed memory back to the system, and start the peak of this process's memory anew; only Linux can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The largest resident memory in MB, mapped files included; NaN where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))
