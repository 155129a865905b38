"""`dvc.yaml`, read as data: who reads what. What the entries of data/inputs hold is in test_entries.py."""

from pathlib import Path
from typing import Any

import yaml

from tests.test_entries import EDITS

ROOT = Path(__file__).parent.parent
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}


def paths(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_only_evaluate_and_report_may_read_the_labels() -> None:
    readers = {
        name
        for name, stage in STAGES.items()
        if any("labels.parquet" in p for p in paths(stage.get("deps", [])) if "pseudo" not in p)
    }
    assert readers == {"evaluate", "report"}


def test_no_stage_knows_the_answers_of_an_audit_but_through_its_entry() -> None:
    """They are nobody's output, so DVC sees them through the entry of `evaluate` alone (tests/test_entries.py)."""
    for name, stage in STAGES.items():
        touched = [path for kind in ("deps", "outs", "metrics", "plots") for path in paths(stage.get(kind, []))]
        assert not [path for path in touched if "audit" in path], name


def test_no_stage_depends_on_a_folder_that_holds_the_labels() -> None:
    for name, stage in STAGES.items():
        for path in paths(stage.get("deps", [])):
            assert path.rstrip("/") not in {"data", "data/${item}", "data/${item.dataset}"}, name


def test_nothing_before_evaluate_depends_on_what_evaluate_writes() -> None:
    truth = {
        path
        for name in ("evaluate", "report")
        for kind in ("outs", "metrics", "plots")
        for path in paths(STAGES[name].get(kind, []))
    }
    for name, stage in STAGES.items():
        if name not in ("evaluate", "report"):
            assert not truth & set(paths(stage.get("deps", []))), name


def test_dvc_watches_nothing_but_what_stages_wrote() -> None:
    """Neither source folders, which may hold what DVC cannot hash, nor code, which the entries answer for."""
    written = {path for stage in STAGES.values() for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))}
    written |= {"data/${item.dataset}/features/clip", "data/${item.dataset}/features/ssl"}
    plain = {path.replace("${item.dataset}", "${item}") for path in written}
    for name, stage in STAGES.items():
        assert {path.replace("${item.dataset}", "${item}") for path in paths(stage.get("deps", []))} <= plain, name


def test_the_first_step_runs_every_time_and_writes_the_entries() -> None:
    stages = yaml.safe_load((ROOT / "data" / "dvc.yaml").read_text())["stages"]
    assert list(stages) == ["resolve"]
    assert stages["resolve"]["always_changed"] and stages["resolve"]["wdir"] == ".."
    assert paths(stages["resolve"]["outs"]) == ["data/inputs"]


def test_corrections_reach_training_through_the_entries_of_these_stages_alone() -> None:
    """They are labels that a person gave to train on: declared, a file of their own, and never those of `labels.parquet`."""
    for name, stage in STAGES.items():
        touched = [path for kind in ("deps", "outs", "metrics", "plots") for path in paths(stage.get(kind, []))]
        assert not [path for path in touched if "corrections" in path], f"{name} reads them past its entry"
    told = {
        stage
        for edit, (_, stages) in EDITS.items()
        if edit.startswith(("a corrected", "a merged", "a new class"))
        for stage in stages
    }
    assert told == {"prepare", "describe", "select", "fit", "tune", "predict", "evaluate"}
