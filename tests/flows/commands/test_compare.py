"""`nola compare`: one table and one picture of what has been measured, and sentences where nothing has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands.compare import HERE
from tests.flows.commands.conftest import Nola
from tests.project import ROOT
from tests.report.example import write_example


@pytest.fixture
def two(tmp_path: Path, finished: Path) -> Path:
    """A project with labelled `pets`, `birds` without labels, and `fish`, which has not been run."""
    root = tmp_path / "two"
    (root / "data").mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", root / "dvc.yaml")
    (root / "params.yaml").write_text("datasets: [pets, birds, fish]\n")
    shutil.copytree(finished / "data" / "pets", root / "data" / "pets")
    write_example(root / "data" / "birds", truth=False)
    return root


def test_every_method_of_every_data_set(two: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two / "data")
    out, err = nola("compare", "--plot", str(two / "c.png"))
    lines = out.splitlines()
    assert lines[0] == "pets: 30 test images, 30 with a label" and lines[7] == "birds: 30 test images, 0 with a label"
    assert lines[1].split() == ["method", "top-1", "%", "95", "%", "interval", "gain", "agrees", "%"]
    assert lines[5].split() == ["NoLA", "(final)", "90.0", "74.4", "–", "96.5", "+40.0", "100.0"]
    assert lines[12].split() == ["NoLA", "(final)", "100.0", "80.0", "0.800"]
    assert not any(line.startswith("mean of") for line in lines)  # one data set alone has labels
    assert "fish has no result yet; next: nola run --dataset fish" in err and "birds has no labels" in err
    assert lines[-1] == str(two / "c.png") and (two / "c.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(nola("compare", "pets", "--json")[0])
    assert [row["method"] for row in found["rows"]] == ["zero_shot", "cde", "alignment", "nola"]
    score = found["rows"][-1]["runs"][HERE]
    assert score["top1"] == 0.9 and score["low"] < 0.9 < score["high"] and score["labelled"] == 30 and found["notes"] == []


def test_with_another_project(two: Path, finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two)
    metrics = json.loads((finished / "data/pets/metrics.json").read_text())
    metrics["methods"]["nola"]["top1"] = 0.8
    other = two / "other"
    (other / "data/pets").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(two / name, other / name)
    (other / "data/pets/metrics.json").write_text(json.dumps(metrics))
    out = nola("compare", "pets", "--with", "other")[0]
    assert out.splitlines()[1].split("gain")[1].split() == ["other", "change", "agrees", "%"]
    assert out.splitlines()[5].split()[-3:] == ["80.0", "+10.0", "100.0"]


def test_with_a_revision_from_dvcs_cache(two: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (two / "dvc.yaml").write_text("stages:\n  evaluate:\n    cmd: echo done\n    metrics:\n      - data/pets/metrics.json\n")
    for words in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [sys.executable, "-m", "dvc", "commit", "-q", "-f"],
        ["git", "add", "dvc.yaml", "dvc.lock", "params.yaml", ".dvc"],
        [*git, "commit", "-q", "-m", "first"],
    ):
        subprocess.run(words, check=True)
    path = two / "data/pets/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["methods"]["nola"]["top1"] = 1.0
    path.unlink()
    path.write_text(json.dumps(metrics))
    assert nola("compare", "pets", "--with", "HEAD")[0].splitlines()[5].split()[-3:] == ["90.0", "+10.0", "100.0"]
    assert "'HEAD~7' is neither the folder of a NoLA project" in nola("compare", "--with", "HEAD~7", status=1)[1]
    shutil.rmtree(two / ".dvc/cache")
    assert "HEAD has no result that DVC's cache still holds" in nola("compare", "pets", "--with", "HEAD", status=1)[1]


def test_nothing_has_run(two: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two)
    assert nola("compare", "fish", status=1)[1] == "error: no result yet of fish; start with `nola run --dataset fish`.\n"
    assert "there is no data set 'fsh'" in nola("compare", "fsh", status=1)[1]
    assert "choose a name that ends in .png" in nola("compare", "--plot", "a.jpg", status=1)[1]
    (two / "data/birds/metrics.json").write_text('{"methods": {}}')
    assert "data/birds/metrics.json is damaged or of an earlier version" in nola("compare", status=1)[1]


LOADED = """
import sys, flows.cli
status = flows.cli.main(["compare", "pets", "--quiet"])
print(status, *[name for name in ("torch", "pandas", "scipy", "dvc", "matplotlib") if name in sys.modules])
"""


def test_it_loads_nothing_heavy(two: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=two, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
