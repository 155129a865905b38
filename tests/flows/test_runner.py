from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.locking import StoppedError
from flows.runner import GRACE_SECONDS, Outcome, StageError, StageRunner, _lines, _Report
from nola_core.descriptions.asking import live
from nola_core.durations import durations


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
    took = durations(root)
    assert runner.run("prepare@digits", lines.append) is Outcome.UNCHANGED
    assert lines == ["Stage 'prepare@digits' didn't change, skipping"]
    (root / "data/digits/classes.parquet").unlink()
    assert runner.run("prepare@digits", lines.append) is Outcome.RESTORED
    assert (root / "data/digits/classes.parquet").is_file()
    assert list(durations(root)) == ["prepare@digits"] and durations(root) == took, "only what ran has taken its time"

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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


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


def test_a_stage_has_longer_than_its_own_grace() -> None:
    assert GRACE_SECONDS > live.GRACE_SECONDS + 5  # answers under way are paid for


def test_an_impatient_user_ends_it_at_once(make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repo(digits="hang-prepare deaf")
    runner = StageRunner(root)

    def work() -> None:
        with pytest.raises(StoppedError):
            runner.run("prepare@digits", lambda line: None)

    thread = threading.Thread(target=work)
    thread.start()
    numbers = pids(root)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("flows.runner.time.sleep", interrupted)
        runner.stop()
    thread.join(20)
    assert_gone(numbers)


def test_a_stage_waits_for_another_dvc_command(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="wait-prepare")
    other = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "prepare@digits"], cwd=root)
    lines: list[str] = []
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(StageRunner(root).run("embed@digits-clip", lines.append)))
    try:
        wait_until(lambda: (root / "waits-prepare").is_file())
        thread.start()
        wait_until(lambda: any(line.startswith("waiting") for line in lines))
        time.sleep(1.5)  # three polls, but only one message
        assert lines == [
            f"waiting for `{sys.executable} -m dvc repro -q prepare@digits` (process {other.pid}, since "
            f"{time.strftime('%H:%M:%S', time.localtime(psutil.Process(other.pid).create_time()))}), "
            "which uses the same files"
        ]
        (root / "go").touch()
        thread.join(60)
        assert outcomes == [Outcome.RUN]
        assert other.wait(60) == 0
    finally:
        (root / "go").touch()
        other.wait(60)
        thread.join(60)


def test_redrawn_progress_bars_are_thinned() -> None:
    read, write = os.pipe()
    os.write(write, b"one\r\n" + b"".join(b"\r%d%%" % i for i in range(100)) + "\r100% \u00e9\ntail".encode())
    os.close(write)
    assert list(_lines(read)) == ["one", "100% \u00e9", "tail"]
    os.close(read)
