"""`dvc.yaml`, read as data: who reads what, and that every stage's code is among its deps."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
# Plumbing every stage shares: reading settings, writing files, showing progress. A change there reruns nothing.
PLUMBING = {"__init__", "config", "device", "errors", "files", "progress", "stages.__init__", "stages.paths"}


def paths(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_only_evaluate_and_report_may_read_the_labels() -> None:
    readers = {
        name for name, stage in STAGES.items() if any("labels.parquet" in p for p in paths(stage["deps"]) if "pseudo" not in p)
    }
    assert readers == {"evaluate", "report"}


def test_no_stage_depends_on_a_folder_that_holds_the_labels() -> None:
    for name, stage in STAGES.items():
        for path in paths(stage["deps"]):
            assert path.rstrip("/") not in {"data", "data/${key}", "data/${item.dataset}"}, name


def test_nothing_before_evaluate_depends_on_what_evaluate_writes() -> None:
    truth = {
        path
        for name in ("evaluate", "report")
        for kind in ("outs", "metrics", "plots")
        for path in paths(STAGES[name].get(kind, []))
    }
    for name, stage in STAGES.items():
        if name not in ("evaluate", "report"):
            assert not truth & set(paths(stage["deps"])), name


def imported(module: Path) -> set[str]:
    """The nola_core modules a file imports, at any depth of its code, as dotted names below nola_core."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.removeprefix("nola_core").lstrip(".") for name in names if name.startswith("nola_core")}
    return found


def file_of(dotted: str) -> Path | None:
    base = ROOT / "nola_core" / Path(*dotted.split(".")) if dotted else ROOT / "nola_core"
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def closure(start: Path) -> set[Path]:
    seen, todo = set(), [start]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += [path for name in imported(module) if (path := file_of(name))]
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs(name: str) -> None:
    deps = [ROOT / path for path in paths(STAGES[name]["deps"]) if path.startswith("nola_core")]
    for module in closure(ROOT / "nola_core" / "stages" / f"{name}.py"):
        dotted = ".".join(module.relative_to(ROOT / "nola_core").with_suffix("").parts)
        covered = any(module == dep or dep in module.parents for dep in deps)
        assert covered or dotted in PLUMBING, f"stage {name} runs {module.relative_to(ROOT)}, which is none of its deps"
    assert all(dep.exists() for dep in deps)
