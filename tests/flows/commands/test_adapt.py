"""`nola adapt`: from a folder to predictions in one command, outside of any project, interrupted or not."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

import nola_core
from flows.cli import main
from flows.commands import adapt
from flows.commands.place import WORK, find_place
from nola_core.estimate import Estimate
from nola_core.explore.collection import read
from nola_core.inputs import STAGES
from tests.tiny import write_clip, write_photos, write_ssl

CLASSES = "cat,-dog,bird"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos`, two of whose names and files are hostile, and the pair `tiny.yaml`."""
    folder = tmp_path_factory.mktemp("empty")
    write_clip(folder / "clip")
    write_ssl(folder / "ssl")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({role: {"model": f"local-dir:{role}"} for role in ("clip", "ssl")}))
    write_photos(folder / "photos", count=14)
    (folder / "photos" / "000.png").rename(folder / "photos" / "=1+2.png")
    (folder / "photos" / "torn.png").write_bytes(b"\x89PNG")
    return folder


def words(out: str, *more: str) -> list[str]:
    return ["adapt", "photos", "--classes", CLASSES, "--backbones", "tiny.yaml", "-o", out, *more]


class Run:
    """`nola` in a process of its own, forked from one that has imported everything; what it prints goes to a folder."""

    def __init__(self, folder: Path, said: Path, *given: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "nola_core.adaptation", *(f"nola_core.stages.{stage}" for stage in STAGES)])
        self._said = said
        self._process = context.Process(target=nola, args=(folder, said, given))
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self) -> bool:
        return self._process.exitcode is not None

    def end(self) -> tuple[int | None, str, str]:
        """Its exit status, negative after a signal, stdout and stderr, when it has ended."""
        self._process.join()
        out, err = ((self._said / name).read_text() for name in ("out", "err"))
        return self._process.exitcode, out, err


def nola(folder: Path, said: Path, given: tuple[str, ...]) -> None:
    """What that process does."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.chdir(folder)
    sys.exit(main(given))


@pytest.fixture(scope="module")
def made(here: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run in a process of its own; the results, and what it wrote to stdout and stderr."""
    status, out, err = Run(here, tmp_path_factory.mktemp("said"), *words("out", "--yes")).end()
    assert status == 0, err
    return here / "out", out, err


def test_it_makes_the_table_the_model_and_the_page(here: Path, made: tuple[Path, str, str]) -> None:
    folder, out, err = made
    assert out.splitlines() == ["out/predictions.csv", "out/model", "out/report.html"]
    assert sorted(path.name for path in here.iterdir()) == ["clip", "out", "photos", "ssl", "tiny.yaml"]
    table = pd.read_csv(folder / "predictions.csv")
    assert table["image"].tolist() == [*(f"{number:03}.png" for number in range(1, 14)), "'=1+2.png", "torn.png"]
    assert set(table["class"].dropna()) <= {"cat", "'-dog", "bird"}
    assert table["reason"].notna().tolist() == [False] * 14 + [True] and table["class"].isna().tolist() == [False] * 14 + [True]
    again = nola_core.load(folder / "model").predict(here / "photos", quiet=True)
    assert again["probability"][:14].tolist() == pytest.approx(table["probability"][:14].tolist(), abs=1e-6)
    page = (folder / "report.html").read_text()
    assert "<h1>photos</h1>" in page and 'src="data:image/png' in page
    assert "templates alone, because none were given." in page
    assert not [outside for outside in ('src="http', "<link", "<script src") if outside in page]
    for said in (
        "14 images (1 more cannot be read), 3 classes: cat, -dog, bird. Backbones: your own, on the CPU",
        "Embedding: seconds; fitting: ",
        "--tune also tunes CLIP",
        "No label was read, so the accuracy was not measured",
        "1 image could not be read; see the column reason",
    ):
        assert said in err, err
    assert "params.yaml" not in err and ".nola-run" not in err


def test_its_folder_can_be_explored_audited_and_exported(
    here: Path, made: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    assert "next: nola explore out shows the images, nola audit out measures the accuracy" in made[2]
    assert main(["audit", "out", "--labels", "10", "--table", "judge.csv"]) == 0
    sheet = pd.read_csv("judge.csv", dtype=str, keep_default_na=False)
    sheet["answer"] = ["(none)"] * 5 + ["bird"] * (len(sheet) - 5)
    sheet.to_csv("judge.csv", index=False)
    capsys.readouterr()
    assert main(["audit", "out", "--labels", "10", "--table", "judge.csv"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("accuracy ") and "measured on 10 images" in captured.out
    assert "the report has it now: out/report.html" in captured.err
    assert "measured on 10 images by a person" in (here / "out" / "report.html").read_text()
    assert main(words("out", "--yes")) == 0
    assert "measured on 10 images by a person" in (said := capsys.readouterr().err) and "not measured" not in said
    assert main(["export", "out", "-o", "audited"]) == main(["export", "out", "--to", "csv", "-o", "table.csv"]) == 0
    assert "measured by a person on 10 of them" in (here / "audited" / "README.md").read_text()
    shown = find_place("out")
    assert len(read(shown.root, shown.dataset).ids) == 14 and find_place("out/model") == shown
    for name in ("judge.csv", "table.csv"):
        (here / name).unlink()
    for name in ("judge-images", "audited"):
        shutil.rmtree(here / name)


def test_other_names_embed_nothing_again(
    here: Path, made: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    (here / "names.csv").write_text("number,class\n1,owl\n2,newt\n")
    changed = [*words("out", "--json")]
    changed[3] = "names.csv"
    assert main(changed) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert "(14 images are embedded already)" in captured.err and set(told["classes"]) <= {"owl", "newt"}
    assert told["unreadable"] == 1 and told["report"] == "out/report.html" and len(told["findings"]) >= 2
    (here / "names.csv").unlink()


def waiting(run: Run, reached: Callable[[], bool]) -> None:
    """Wait until a run has come so far, and no farther than its end."""
    deadline = time.monotonic() + 250
    while not reached():
        assert not run.ended() and time.monotonic() < deadline, run.end()
        time.sleep(0.005)


@pytest.mark.timeout(600)
def test_killed_and_interrupted_it_ends_in_the_same_bits(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = ("--tune", "--epochs", "40")
    work = here / "broken" / WORK
    killed = Run(here, tmp_path, *words("broken", *tuned))
    waiting(killed, (work / "data" / "photos" / "features" / "clip").exists)
    killed.send(signal.SIGKILL)
    assert killed.end()[0] == -signal.SIGKILL
    assert not (here / "broken" / "predictions.csv").exists()
    stopped = Run(here, tmp_path, *words("broken", *tuned))
    waiting(stopped, lambda: any((work / ".nola" / "checkpoints").rglob("*.pt")))
    stopped.send(signal.SIGINT)
    status, out, err = stopped.end()
    assert (status, out) == (130, ""), err
    assert "stopped; the same command goes on from here" in err
    assert "going on with the run that was interrupted in broken" in err and "Traceback" not in err
    monkeypatch.chdir(here)
    for name in ("broken", "whole"):
        assert main(words(name, *tuned)) == 0
    assert capsys.readouterr().err.count("going on with the run") == 1
    for result in ("predictions.csv", "model/method.safetensors", "model/model.json"):
        assert (here / "broken" / result).read_bytes() == (here / "whole" / result).read_bytes(), result
    assert json.loads((here / "whole" / "model" / "model.json").read_text())["method"] == "nola"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({1: "nowhere"}, "nowhere does not exist; give the folder of your images"),
        ({1: "tiny.yaml"}, "tiny.yaml is no folder"),
        ({1: "void"}, "the folder void holds no image"),
        ({1: "."}, "the output new overlaps with the images in ."),
        ({3: "cat"}, "--classes cat is one name, and there is no file of that name"),
        ({3: "cat,dog,Cat"}, "--classes: duplicate class names 'cat' (class 1) and 'Cat' (class 3)"),
        ({3: "cat,,dog"}, "--classes: class 2 of 3 has no name"),
        ({3: "one.txt"}, "one.txt: 1 class names; a classifier needs at least two"),
        ({5: "papper"}, "has no backbone pair 'papper'; did you mean 'paper'"),
        ({7: "clip"}, "clip holds other things (open_clip_config.json, open_clip_model.safetensors); choose a new or an empty"),
        ({7: "tiny.yaml"}, "tiny.yaml is a file; choose a folder for the results"),
        ({1: "others", 7: "out"}, "out holds the results for "),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    here: Path,
    made: tuple[Path, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    change: dict[int, str],
    sentence: str,
) -> None:
    for path in here.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "void").mkdir()
    write_photos(tmp_path / "others", count=1)
    (tmp_path / "one.txt").write_text("cat\n")
    monkeypatch.chdir(tmp_path)
    given = words("new")
    for place, word in change.items():
        given[place] = word
    assert main(given) == 1
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.out == "" and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (None, 1, "error: this takes about 2.0 hours here, and nobody can be asked; add --yes to start it. Quicker: "),
        ("n\n", 130, "without --tune (about 30 seconds), --epochs 5 (about 12 minutes)"),
    ],
)
def test_it_never_begins_hours_unasked(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    status: int,
    said: str,
) -> None:
    seconds = {"embedding": 10.0, "fitting": 10.0, "report": 8.0, "tuning": 7200.0}
    found = Estimate(14, 1, {"clip": 0, "ssl": 0}, {"clip": 9.0, "ssl": 9.0}, seconds)
    monkeypatch.setattr("nola_core.estimate.estimate", lambda _: found)  # hours cannot be run here
    monkeypatch.chdir(here)
    monkeypatch.setattr(adapt, "_terminal", lambda: answer is not None)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer or ""))
    assert main(words("asked", "--tune")) == status
    assert said in capsys.readouterr().err and not (here / "asked").exists()


def test_the_model_predicts_many_images_and_broken_ones_cost_a_row_each(
    here: Path,
    made: tuple[Path, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """More images than are decoded together, with broken ones in every batch."""
    many = write_photos(tmp_path / "many", count=150)
    for number in range(4, 150, 15):
        (many / f"{number:03}.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(here)
    assert main(["predict", "out/model", str(many), "-o", str(tmp_path / "many.csv")]) == 0
    table = pd.read_csv(tmp_path / "many.csv")
    assert table["image"].tolist() == [f"{number:03}.png" for number in range(150)]
    assert table.index[table["reason"].notna()].tolist() == list(range(4, 150, 15))
    assert (table["class"].isna() == table["reason"].notna()).all()
    err = capsys.readouterr().err
    assert re.search(r"150 images, [\d,.]+ per second; 10 could not be read, see the column reason", err), err
