from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.dvc_locks import await_repository, blocking_pids, mend
from flows.locking import StoppedError, run_lock, running

HOLD = """
import sys, time
from pathlib import Path
from flows.locking import run_lock
with run_lock(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(300)
"""
HOLD_REPOSITORY = """
import sys, time
import zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
time.sleep(300)
"""
DETACHED = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE, text=True, start_new_session=True)
child.stdout.readline()
print(child.pid)
"""
"""Starts a process that soon becomes an orphan."""


@contextmanager
def process(code: str, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has reported that it is ready; killed at the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None and started.stdout.readline() == "held\n"
            yield started
        finally:
            started.kill()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_run_waits_for_the_other_and_says_for_whom(tmp_path: Path) -> None:
    said: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with run_lock(tmp_path, said.append):
            entered.set()

    assert running(tmp_path) is None
    with process(HOLD, str(tmp_path), "--dataset", "digits", cwd=tmp_path) as first:
        assert f"--dataset digits` (process {first.pid}, since " in str(running(tmp_path))
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: said)
        assert not entered.wait(1)
        first.kill()  # like the kernel when memory runs out: no cleanup
        thread.join(60)
    assert entered.is_set()
    assert len(said) == 1 and f"--dataset digits` (process {first.pid}, since " in said[0] and str(tmp_path) in said[0]
    assert running(tmp_path) is None


def test_a_lock_file_that_was_cleaned_away_locks_nobody_out_and_nobody_in(tmp_path: Path) -> None:
    with run_lock(tmp_path, pytest.fail):
        (tmp_path / ".nola" / "run.lock").unlink()
        with run_lock(tmp_path, pytest.fail):
            assert running(tmp_path) is not None


def test_own_children_may_hold_the_lock_of_the_repository(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    stopping = threading.Event()
    said: list[str] = []
    await_repository(tmp_path, stopping, said.append)  # the lock is free
    with process(HOLD_REPOSITORY, str(folder / "lock"), cwd=tmp_path) as own:
        await_repository(tmp_path, stopping, said.append)  # our own children wait by themselves
        assert said == [] and own.poll() is None


def test_what_killed_commands_left_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    lock = folder / "rwlock"
    said: list[str] = []
    mend(tmp_path, said.append)
    for rubbish in ("", '{"write": {"a": {"pi', "[]", '{"write": {"a": 3}}'):
        lock.write_text(rubbish)
        mend(tmp_path, said.append)
        assert not lock.exists()
        assert "unreadable" in said.pop() and said == []

    here = {"pid": os.getpid(), "cmd": "dvc repro"}
    ended = {"pid": 2**22 + 1, "cmd": "dvc repro"}  # larger than any process id on Linux
    lock.write_text(json.dumps({"write": {"a": here, "c": ended}, "read": {"b": [here, ended]}}))
    mend(tmp_path, said.append)
    assert json.loads(lock.read_text()) == {"write": {"a": here}, "read": {"b": [here]}}, "this process may have written it"
    os.utime(lock, (0, 0))  # written before this process started: the id belonged to another process
    mend(tmp_path, said.append)
    assert json.loads(lock.read_text()) == {"write": {}, "read": {"b": []}}
    assert said == []


def test_an_unreadable_lock_stays_while_dvc_is_at_work(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    lock = folder / "rwlock"
    lock.write_text("")
    said: list[str] = []
    with process("import time; print('held', flush=True); time.sleep(300)", "dvc", "repro", cwd=tmp_path) as other:
        thread = threading.Thread(target=mend, args=(tmp_path, said.append))
        thread.start()
        until(lambda: said)
        assert f"(process {other.pid}, since " in said[0] and lock.exists()
        other.kill()
        other.wait()
        thread.join(60)
    assert not lock.exists() and len(said) == 2


def test_blockers_are_read_from_the_complaint_of_dvc() -> None:
    complaint = "'data/a' is busy, it is being blocked by:\n  (PID 12): dvc repro\n  (PID 34): dvc (PID 5): x\n\nIf there"
    assert blocking_pids(complaint) == {12, 34}


def test_waiting_ends_when_the_run_is_cancelled(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    outsider = subprocess.run(
        [sys.executable, "-c", DETACHED, HOLD_REPOSITORY, str(tmp_path / ".dvc/tmp/lock")], stdout=subprocess.PIPE, check=True
    )
    pid = int(outsider.stdout)
    said: list[str] = []
    try:
        with pytest.raises(StoppedError):
            await_repository(tmp_path, stopping, said.append)
        stopping.clear()
        thread = threading.Thread(target=await_repository, args=(tmp_path, stopping, said.append))
        thread.start()
        until(lambda: said)
        assert f"(process {pid}, since " in said[0]
    finally:
        os.kill(pid, 9)
    thread.join(60)
    assert not thread.is_alive() and len(said) == 1
