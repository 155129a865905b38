"""`make demo`, with less training; and what it prints at its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from demo.run import show
from nola_core.methods.method import InForce, Listed
from tests import warm
from tests.project import ROOT, change, make_repository


def test_the_ladder_has_titles_and_gains_over_the_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    titles = {"templates": "Templates", "nearest": "Nearest", "cde": "Descriptions (CDE)"}
    listed = tuple(Listed(name, title, "made up", "text") for name, title in titles.items())
    scores = {name: {"top1": top1} for name, top1 in zip(titles, (0.6, 0.75, 0.5), strict=True)}
    in_force = InForce(listed, "cde", "cde", "nearest").values()
    (tmp_path / "metrics.json").write_text(json.dumps({"images": 500, "methods": scores, "in_force": in_force}))
    show(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "500 held-out handwritten digits, no label used"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [["Templates", "60.0", ""], ["Nearest", "75.0", "+15.0"], ["Descriptions (CDE)", "50.0", "-10.0"]]
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"


@pytest.mark.timeout(600)
def test_make_demo_ends_with_the_table_and_a_second_time_computes_nothing(tmp_path: Path) -> None:
    """The Makefile's own recipe in a copy of this checkout, without its set-up, with two epochs instead of fifty."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "demo", root / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    make_repository(root)
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "params.yaml", "data/digits.yaml"):
        shutil.copy(ROOT / name, root / name)
    for section in ("alignment", "nola"):
        change(root / "params.yaml", section, "epochs", value=2)
    with warm.python(tmp_path) as python:
        command = ["make", "demo", f"READY={python}", f"BIN={python.parent}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
        said = [
            subprocess.run(command, cwd=root, env={**environment, "NOLA_DEVICE": "cpu"}, capture_output=True, text=True)
            for _ in range(2)
        ]
    first, second = (done.stdout for done in said)
    assert [done.returncode for done in said] == [0, 0], first + said[0].stderr + second + said[1].stderr
    assert "500 held-out handwritten digits, no label used" in first and "Running stage 'tune@digits'" in first
    report = Path(first.splitlines()[-1].removeprefix("report: "))
    assert report == root / "data" / "digits" / "report.html" and report.stat().st_size > 50_000
    assert "Running stage 'tune@digits'" not in second and second.splitlines()[-8:] == first.splitlines()[-8:]
