"""Device, workers and cache folder. They come from the environment because a change in params.yaml would rerun stages."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nola_core.errors import NolaError

if TYPE_CHECKING:
    import torch  # imported where it is needed: half of the stages run without it, and the import takes seconds

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def device() -> torch.device:
    """`NOLA_DEVICE`: auto (the default: a GPU if available), cpu, cuda or cuda:1.

    Raises:
        NolaError: it is not a device, or the GPU does not exist.
    """
    import torch

    name = os.environ.get("NOLA_DEVICE") or "auto"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = re.fullmatch(r"cpu|cuda(?::(\d+))?", name, re.ASCII)
    if kind is None:
        raise NolaError(f"NOLA_DEVICE={name} is not a device; use auto, cpu, cuda or cuda:0.")
    if name != "cpu" and int(kind.group(1) or 0) >= torch.cuda.device_count():
        raise NolaError(f"NOLA_DEVICE={name}, but torch finds {torch.cuda.device_count()} GPUs on this machine; use auto or cpu.")
    return torch.device(name)


def autocast(place: torch.device, precision: str) -> torch.autocast:
    """A context in which torch multiplies matrices in `precision`, float32 or bfloat16; the weights do not change."""
    import torch

    return torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch computes in one thread, for many small steps; the previous number is restored."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_memory() -> None:
    """Make torch use huge pages, and make the C library keep freed memory for the next tensors. Call this before using torch.

    By default large blocks go back to the system at once, and every 4 KB of the next block costs a page fault. That takes from a
    tenth to half of the time of a forward pass on a CPU, depending on the state of its memory (benchmarks/results/speed.md). Only
    Linux with glibc; does nothing elsewhere.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def workers() -> int:
    """`NOLA_WORKERS`: threads that read and decode images; by default one per core, at most 16.

    Raises:
        NolaError: it is not a positive number.
    """
    text = os.environ.get("NOLA_WORKERS", "")
    if not text:
        return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if not text.isdecimal() or int(text) < 1:
        raise NolaError(f"NOLA_WORKERS={text} is not valid; use a whole number of at least 1.")
    return int(text)


def cache_root() -> Path:
    """`NOLA_CACHE` (default `.nola`): the folder of caches, which can be deleted and are then computed again."""
    return Path(os.environ.get("NOLA_CACHE") or ".nola")
