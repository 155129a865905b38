"""Wait for other DVC commands, which DVC itself does not do.

DVC has two locks in `.dvc/tmp`: `lock`, held while a command reads or writes DVC's own files, and `rwlock`, a list of the paths
that running stages read and write. DVC fails at once if a path is in use. Killed commands leave `rwlock` unreadable, or with the
ids of processes that no longer exist.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from flows.locking import POLL_SECONDS, Notify, describe, pause


def blocking_pids(text: str) -> frozenset[int]:
    """The process ids in DVC's message about a busy path, such as `(PID 123): dvc repro`."""
    return frozenset(int(number) for number in re.findall(r"^\s*\(PID (\d+)\): ", text, re.MULTILINE))


class Patience:
    """Waits for the commands that use the same files, and reports each of them once."""

    def __init__(self, root: Path, stopping: threading.Event, notify: Notify) -> None:
        self._root = root
        self._stopping = stopping
        self._notify = notify
        self._told: set[frozenset[int]] = set()

    def wait(self, pids: frozenset[int]) -> None:
        """Wait until one of `pids` ends or uses different paths; if there are none, wait a moment.

        Raises:
            StoppedError: `stopping` was set.
        """
        if pids not in self._told:
            self._told.add(pids)
            whom = ", ".join(describe(pid) for pid in sorted(pids)) or "another DVC command"
            self._notify(f"waiting for {whom}, which uses the same files")
        before = self._held(pids)
        pause(self._stopping)
        while before and self._held(pids) == before:
            pause(self._stopping)

    def _held(self, pids: frozenset[int]) -> frozenset[tuple[int, str]]:
        """The paths that the running processes of `pids` read and write: (process, path)."""
        entries = _entries(_dvc_tmp(self._root) / "rwlock") or []
        return frozenset((pid, path) for pid, path in entries if pid in pids and psutil.pid_exists(pid))


def await_repository(root: Path, stopping: threading.Event, notify: Notify) -> None:
    """Wait while a process that is not a child of this one holds DVC's own lock, and report it once.

    Raises:
        StoppedError: `stopping` was set.
    """
    path = _dvc_tmp(root) / "lock"
    told = False
    while (pid := _lock_owner(path)) is not None and not _is_ours(pid):
        if told:
            pause(stopping)
            continue
        pause(stopping)
        if _lock_owner(path) == pid:  # not just for a moment, as every command does
            notify(f"waiting for {describe(pid)}")
            told = True


def mend(root: Path, notify: Notify) -> None:
    """Repair `rwlock` after killed DVC commands: remove an unreadable file and entries of processes that no longer exist.

    While a DVC command is running in this repository, an unreadable file is not removed; this function waits instead.
    """
    path = _dvc_tmp(root) / "rwlock"
    told = False
    while path.is_file():
        with _guard(path) as guarded:
            entries = _entries(path)
            if guarded and entries is not None:
                _drop_gone(path)
                return
            at_work = _dvc_commands(root)
            if guarded and not at_work:
                path.unlink(missing_ok=True)
                notify(f"removed {path}: a killed DVC command had left it unreadable")
                return
        if not told and entries is None and at_work:
            notify(f"{path} is unreadable; waiting for {describe(at_work[0])} to end before removing it")
            told = True
        time.sleep(POLL_SECONDS)


def _dvc_tmp(root: Path) -> Path:
    """`.dvc/tmp` of the repository that contains `root`."""
    places = (folder / ".dvc" for folder in (root, *root.parents))
    return next((place for place in places if place.is_dir()), root / ".dvc") / "tmp"


def _lock_owner(path: Path) -> int | None:
    """The process that holds DVC's own lock; None if it is free."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                words = file.read().split()
                return int(words[0]) if words and words[0].isdecimal() else 0
    except OSError:
        pass
    return None


def _is_ours(pid: int) -> bool:
    if pid in (0, os.getpid()):
        return True
    try:
        return os.getpid() in [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.Error:
        return True  # it has ended


@contextmanager
def _guard(path: Path) -> Iterator[bool]:
    """Hold the lock under which DVC edits `rwlock`; False if another process holds it."""
    try:
        file = path.with_name("rwlock.lock").open()
    except OSError:
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _read(path: Path) -> dict[str, dict[str, Any]] | None:
    """The content of `rwlock`; None if DVC could not read it."""
    try:
        lock = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return lock if isinstance(lock, dict) and all(isinstance(part, dict) for part in lock.values()) else None


def _entries(path: Path) -> list[tuple[int, str]] | None:
    """(process, path) of everything being read or written; None if the file is unreadable."""
    lock = _read(path)
    if lock is None:
        return None
    try:
        read = [(int(info["pid"]), name) for name, infos in lock.get("read", {}).items() for info in infos]
        return read + [(int(info["pid"]), name) for name, info in lock.get("write", {}).items()]
    except (KeyError, TypeError, ValueError):
        return None


def _drop_gone(path: Path) -> None:
    """Remove processes that have ended, and those that started after the file was last written.

    DVC compares only process ids: it warns about the first kind and waits forever for the second.
    """
    lock = _read(path) or {}
    written = path.stat().st_mtime

    def gone(info: dict[str, Any]) -> bool:
        try:
            return psutil.Process(int(info["pid"])).create_time() > written + 1
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False  # a process of another user

    kept = {
        "write": {name: info for name, info in lock.get("write", {}).items() if not gone(info)},
        "read": {name: [info for info in infos if not gone(info)] for name, infos in lock.get("read", {}).items()},
    }
    if kept != {"write": lock.get("write", {}), "read": lock.get("read", {})}:
        path.write_text(json.dumps(kept))


def _dvc_commands(root: Path) -> list[int]:
    """Processes that look like a DVC command running in the repository of `root`."""
    repository = _dvc_tmp(root).parent.parent
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            here = Path(process.cwd())
        except psutil.Error:
            continue
        if any(Path(word).name == "dvc" for word in words[:4]) and (here == repository or repository in here.parents):
            found.append(process.pid)
    return found
