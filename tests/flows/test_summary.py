"""The table at the end of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from flows.graph import Stage
from flows.runner import Outcome
from flows.session import Result, Results
from flows.summary import print_summary
from nola_core.methods.method import InForce, Listed


def written(root: Path, count: int, **more: object) -> str:
    """The summary of a data set with `count` methods, m0 to m<count - 1>, of accuracies 0.00, 0.01, ..."""
    listed = tuple(Listed(f"m{number}", f"Method {number}", "made up", "text") for number in range(count))
    in_force = InForce(listed, text_classifier="m1", teacher="m2", final=f"m{count - 1}")
    scores = {name: {"top1": number / 100} for number, name in enumerate(in_force.names)}
    folder = root / "data" / "pets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps({"methods": scores, "in_force": in_force.values(), **more}))
    result = Result(Stage("evaluate@pets", "evaluate", "pets", (), False), Outcome.RUN, "")
    file = io.StringIO()
    print_summary(root, Results({"evaluate@pets": result}), Console(file=file, width=200))
    return file.getvalue()


@pytest.mark.parametrize(("count", "shown"), [(4, [0, 1, 2, 3]), (25, [0, 1, 2, 24])])
def test_all_methods_or_those_with_a_role_are_shown_by_title(tmp_path: Path, count: int, shown: list[int]) -> None:
    text = written(tmp_path, count)
    header, row = (next(line for line in text.splitlines() if word in line) for word in ("data set", "pets"))
    titles = [cell.strip() for cell in header.strip("┃ ").split("┃")]
    values = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert titles == ["data set", "stages", *(f"Method {number}" for number in shown)]
    assert values == ["pets", "1 run", *(f"{float(number):.1f}" for number in shown)]


def test_corrections_are_said(tmp_path: Path) -> None:
    text = written(tmp_path, 2, corrections={"images": 1, "merges": 0, "classes": 0})
    assert "pets: 1 correction was given (1 image): not label-free" in text
    assert "label-free" not in written(tmp_path, 2)


def test_names_that_say_little_are_a_warning(tmp_path: Path) -> None:
    assert "warning" not in written(tmp_path, 2)
    told = {"images": 100, "wins": 0.45, "described": False, "ranks": {"\x1b[31mshiny": 0.1, "dull": 0.7}}
    (tmp_path / "data/pets/names.json").write_text(json.dumps(told))
    text = written(tmp_path, 2)
    assert "warning: pets: The class names say little about these images" in text and "\\x1b[31mshiny" in text
    (tmp_path / "data/pets/names.json").write_text("{")
    assert "warning" not in written(tmp_path, 2)
