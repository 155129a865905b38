"""One `nola run` per project at a time, and descriptions of the processes that others wait for."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

POLL_SECONDS = 0.5

Notify = Callable[[str], None]


class StoppedError(Exception):
    """The run was cancelled: the stage was stopped or not started."""


@contextmanager
def run_lock(root: Path, notify: Notify) -> Iterator[None]:
    """Hold `.nola/run.lock` of the project at `root`; wait for another run and report it once."""
    path = root / ".nola" / "run.lock"
    descriptor = _open_locked(path)
    if descriptor is None:
        notify(f"waiting for {_holder(path)}: only one run at a time is possible in {root}")
    while descriptor is None:
        time.sleep(POLL_SECONDS)
        descriptor = _open_locked(path)
    try:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}).encode(), 0)
        yield
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def running(root: Path) -> str | None:
    """A description of the process that holds `run_lock`; None if it is free."""
    path = root / ".nola" / "run.lock"
    if not path.exists():
        return None
    descriptor = _open_locked(path)
    if descriptor is None:
        return _holder(path)
    os.close(descriptor)
    return None


def describe(pid: int) -> str:
    """A description of a process: command, process id and start time."""
    try:
        process = psutil.Process(pid)
        command, since = shlex.join(process.cmdline()), process.create_time()
    except psutil.Error:
        return f"process {pid}"
    return f"`{_short(command)}` (process {pid}, since {_clock(since)})"


def pause(stopping: threading.Event) -> None:
    """Sleep for a moment.

    Raises:
        StoppedError: `stopping` is set.
    """
    if stopping.wait(POLL_SECONDS):
        raise StoppedError


def _open_locked(path: Path) -> int | None:
    """The descriptor of the locked file; None if another process has locked it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.close(descriptor)  # `make clean` has removed the file in the meantime


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"`{_short(holder['command'])}` (process {holder['pid']}, since {_clock(holder['since'])})"
    except (OSError, ValueError, KeyError):
        return "another run"


def _short(command: str) -> str:
    return command if len(command) <= 100 else command[:97] + "..."


def _clock(seconds: float) -> str:
    """A time of day, with the date if it is not today."""
    then = time.localtime(seconds)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)
