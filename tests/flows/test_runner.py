from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.runner import Outcome, StageError, StageRunner, StoppedError, _lines, _Report


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


def test_without_a_sentence_of_the_stage_dvc_gives_the_reason() -> None:
    report = _Report("select@digits")
    assert report.add("ERROR: failed to reproduce 'select@digits': [Errno 2] No such file or directory: 'clip.txt'")
    assert not report.add("")
    assert report.sentence(255) == "[Errno 2] No such file or directory: 'clip.txt'"
    assert _Report("select@digits").sentence(-9) == "dvc ended with exit status -9"


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
        except StoppedError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    numbers = pids(root)
    runner.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert_gone(numbers)
    assert len(raised) == 1
    with pytest.raises(StoppedError):
        runner.run("prepare@digits", lambda line: None)

    (root / "src/digits.txt").write_text("well")
    assert StageRunner(root).run("prepare@digits", lambda line: None) is Outcome.RUN  # the killed one left no lock


def test_redrawn_progress_bars_are_thinned() -> None:
    read, write = os.pipe()
    os.write(write, b"one\r\n" + b"".join(b"\r%d%%" % i for i in range(100)) + "\r100% \u00e9\ntail".encode())
    os.close(write)
    assert list(_lines(read)) == ["one", "100% \u00e9", "tail"]
    os.close(read)
