"""`nola methods --parts`: what a student's option `tune` can name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nola_core.students.parts import PARTS
from tests.flows.commands.conftest import Nola


def test_the_parts_and_whether_they_merge(nola: Nola, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no project is needed
    rows = {row["part"]: row for row in json.loads(nola("methods", "--parts", "--json")[0])}
    assert list(rows) == list(PARTS)
    assert rows["tokens"]["merges"] == "no" and rows["lora"]["merges"] == "yes" and "Hu et al." in rows["lora"]["paper"]
    header, *lines = nola("methods", "--parts")[0].splitlines()
    assert header.split() == ["part", "merges", "what", "learns"]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(PARTS)
