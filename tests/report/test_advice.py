"""What to do next: commands that exist, and only those that the result calls for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nola_core.report.advice import STEPS, steps
from nola_core.report.tables import Tables, load
from tests.command_line import parse
from tests.report.example import write_example


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("advice") / "pets"
    write_example(folder, truth=False)
    return load(folder)


def with_audit(tables: Tables, high: float) -> Tables:
    return replace(tables, metrics={**tables.metrics, "audit": {"accuracy": 0.8, "low": 0.7, "high": high, "labels": 50}})


@pytest.mark.parametrize("project", [True, False])
def test_an_audit_is_advised_until_its_interval_is_narrow(unlabelled: Tables, project: bool) -> None:
    asked = [
        [one.command for one in steps(tables, groups=0, absent=False, project=project) if one.command.startswith("nola audit")]
        for tables in (unlabelled, with_audit(unlabelled, 0.95), with_audit(unlabelled, 0.85))
    ]
    assert asked == [["nola audit pets --labels 50"], ["nola audit pets --labels 150"], []]


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize(("groups", "absent"), [(0, False), (2, True), (0, True)])
def test_every_command_is_one(unlabelled: Tables, project: bool, groups: int, absent: bool) -> None:
    found = steps(unlabelled, groups=groups, absent=absent, project=project)
    assert 2 <= len(found) <= STEPS and "nola explore pets" in [one.command for one in found]
    for one in found:
        parse(one.command.split()[1:])


def test_where_there_are_labels_nothing_is_to_be_measured(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    commands = [one.command for one in steps(load(tmp_path / "pets"), groups=0, absent=False, project=True)]
    assert commands == ["nola explore pets", "nola export pets --to csv -o pets.csv"]
