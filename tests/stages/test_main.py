"""How a stage ends: by a full disk, a signal or a mistake of ours; and how the next one begins."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nola_core import files
from nola_core.errors import system_sentence
from nola_core.report import tables
from nola_core.stages.paths import Paths
from tests.project import AFTER_TRUTH, ORDER, ROOT, change, run
from tests.stages.children import Stages


@pytest.fixture
def root(complete: Path, tmp_path: Path) -> Path:
    shutil.copytree(complete, tmp_path / "p")
    return tmp_path / "p"


def scratch(root: Path) -> list[Path]:
    return [path for folder in ("data", ".nola") for path in (root / folder).rglob("*.partial")]


@pytest.mark.parametrize("stage", [*ORDER, *AFTER_TRUTH])
def test_a_full_disk_is_one_sentence_that_names_the_file(stages: Stages, root: Path, stage: str) -> None:
    shutil.rmtree(root / ".nola")
    shutil.rmtree(root / "data" / "blobs" / "responses")
    status, said = stages.run(root, stage, largest=0)
    *progress, sentence = said.splitlines()
    assert status == 1 and not any("Traceback" in line for line in progress)
    assert sentence.startswith((f"error: {root}/data/blobs/", f"error: {root}/.nola/"))
    assert sentence.endswith(
        ": File too large; the file system, or `ulimit -f`, does not allow a larger file, then run this again."
    )
    assert not scratch(root)


def test_what_stands_in_the_way_of_a_folder_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plots = root / "data" / "blobs" / "plots"
    shutil.rmtree(plots)
    plots.write_text("")
    capsys.readouterr()
    assert run(root, "evaluate") == 1
    expected = f"error: {plots}: File exists; remove or rename what is there, then run this again.\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "x", "data/a"), "data/a: No space left on device; free some space there, then run this again."),
        (OSError(errno.EROFS, "x", b"a"), "a: Read-only file system; make it writable, or move the project or NOLA_CACHE else"),
        (PermissionError(errno.EACCES, "x", Path("a")), "a: Permission denied; check the permissions with `ls -ld`,"),
        (FileNotFoundError(errno.ENOENT, "x", "a", 0, "b"), "a: No such file or directory; restore it, or run the stage that"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "Connection refused; fix this, then run this again."),
    ],
)
def test_the_systems_errors_in_words(error: OSError, sentence: str) -> None:
    assert system_sentence(error).startswith(sentence)


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), OSError("a library's, which is no system's error"), KeyError("x")])
def test_a_mistake_of_ours_still_traces_back(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("nola_core.stages.select"), "run", broken)
    with pytest.raises(type(error)) as caught:
        run(root, "select")
    assert caught.value is error and not capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stage_with_one_line_and_its_status(stages: Stages, root: Path, number: signal.Signals) -> None:
    change(root / "params.yaml", "nola", "epochs", value=100_000)
    process = stages.start(root, "tune")
    while not list((root / ".nola" / "checkpoints").rglob("*.pt")):
        os.kill(process, 0)  # an error if it has ended
        time.sleep(0.01)
    os.kill(process, number)
    status, said = stages.end()
    assert status == 128 + number
    assert said.splitlines()[-1] == f"error: stopped by {number.name}; run it again to go on where it can."
    assert "Traceback" not in said and not scratch(root)


def test_a_signal_that_arrives_in_a_finalizer_is_not_lost() -> None:
    """Python drops what a finalizer raises; the stage would go on, and the next signal would kill it without any clean-up."""
    code = """
import os, signal, sys, time
from nola_core.stages.__main__ import stop_on_signals

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

stop_on_signals()
try:
    Last()
    time.sleep(20)
except KeyboardInterrupt as stop:
    sys.exit(stop.args[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (signal.SIGTERM, "")


def test_the_next_stage_removes_what_a_killed_one_left_and_nobody_takes_it_for_a_store(stages: Stages, root: Path) -> None:
    features = root / "data" / "blobs" / "features"
    assert stages.run(root, "embed clip", die_after="nola_core.extraction:write_store")[0] == -signal.SIGKILL
    (left,) = scratch(root)
    assert left.parent == features and left.name.startswith(".clip.") and list(left.rglob("meta.json"))
    (features / "clip" / ".hidden").mkdir()
    shutil.copy(features / "clip" / "train" / "meta.json", features / "clip" / ".hidden")
    shutil.copytree(features / "clip", features / ".clip.12345678.partial")  # as earlier versions left them
    assert Paths(root, "blobs").splits("clip") == ["test", "train"]
    stores = tables.load(root / "data" / "blobs").stores
    assert {role: sorted(splits) for role, splits in stores.items()} == {role: ["test", "train"] for role in ("clip", "ssl")}
    with files.replacing(root / "data" / "blobs" / "mine") as mine:
        mine.write_text("of a living writer")
        assert run(root, "select") == 0
        assert mine.exists() and not left.exists()
