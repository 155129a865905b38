"""What `make demo` prints at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.run import show
from nola_core.methods.method import InForce, Listed


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
