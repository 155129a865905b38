from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.runner import Outcome, StageError, StageRunner, Stopped, _lines


def test_outcomes_lines_and_failures(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="fail-embed", raising="raise-prepare")
    runner = StageRunner(root)
    lines: list[str] = []
    assert runner.run("prepare@digits", lines.append) is Outcome.RUN
    assert lines == [
        "Running stage 'prepare@digits':",
        "> python stages.py prepare digits",
        "prepare of digits at work",
    ]
    lines.clear()
    assert runner.run("prepare@digits", lines.append) is Outcome.UNCHANGED
    assert lines == ["Stage 'prepare@digits' didn't change, skipping"]
    (root / "data/digits/classes.parquet").unlink()
    assert runner.run("prepare@digits", lines.append) is Outcome.RESTORED
    assert (root / "data/digits/classes.parquet").is_file()

    with pytest.raises(StageError) as failed:
        runner.run("embed@digits-clip", lines.append)
    assert str(failed.value) == "embed found no images in digits; add some."
    assert failed.value.tail[-2:] == ["embed of digits at work", f"error: {failed.value}"]
    with pytest.raises(StageError, match=r"^ValueError: the toy broke \(failed to run: .*exited with 1\)"):
        runner.run("prepare@raising", lines.append)
    with pytest.raises(StageError, match=r"clip\.txt"):
        runner.run("select@digits", lines.append)


def pids(root: Path) -> list[int]:
    file = root / "pids.txt"
    deadline = time.monotonic() + 60
    while not (file.is_file() and len(file.read_text().split()) == 2):
        assert time.monotonic() < deadline, "the stage did not start"
        time.sleep(0.1)
    return [int(pid) for pid in file.read_text().split()]


def assert_gone(numbers: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in numbers):
        assert time.monotonic() < deadline, f"still alive: {numbers}"
        time.sleep(0.1)


def test_stopping_ends_the_whole_process_group(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="hang-prepare")
    runner = StageRunner(root)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            runner.run("prepare@digits", lambda line: None)
        except Stopped as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    numbers = pids(root)
    runner.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert_gone(numbers)
    assert len(raised) == 1
    with pytest.raises(Stopped):
        runner.run("prepare@digits", lambda line: None)

    (root / "src/digits.txt").write_text("well")
    assert StageRunner(root).run("prepare@digits", lambda line: None) is Outcome.RUN  # the killed one left no lock


def test_an_error_of_the_listener_ends_the_stage(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="hang-prepare")

    def listen(line: str) -> None:
        if "at work" in line:
            pids(root)
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        StageRunner(root).run("prepare@digits", listen)
    assert_gone(pids(root))


def test_redrawn_progress_bars_are_thinned() -> None:
    read, write = os.pipe()
    os.write(write, b"one\r\n" + b"".join(b"\r%d%%" % i for i in range(100)) + "\r100% \u00e9\ntail".encode())
    os.close(write)
    assert list(_lines(read)) == ["one", "100% \u00e9", "tail"]
    os.close(read)
