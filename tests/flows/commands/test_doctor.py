"""`nola doctor`: lines, JSON and exit status. What it finds is tested in tests/flows/test_checkup.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import checkup
from flows.checkup import Finding
from tests.flows.commands.conftest import Nola

FOUND = [
    Finding("memory", "ok", "8.0 of 16.0 GiB free"),
    Finding("disk", "warn", "1.0 GiB free at /pets\n\x1b[31m", "make room."),
]


def test_a_line_a_thing_and_a_fix_below(nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "quick", lambda root: iter(FOUND))
    monkeypatch.setattr(checkup, "weights", lambda root: iter([Finding("weights", "fail", "paper: none", "take another.")]))
    assert nola("doctor", "--quick")[0].splitlines() == [
        "ok    memory        8.0 of 16.0 GiB free",
        "warn  disk          1.0 GiB free at /pets\\n\\x1b[31m",
        "                    fix: make room.",
    ]
    assert "fail  weights       paper: none" in nola("doctor", status=1)[0]
    told = json.loads(nola("doctor", "--json", status=1)[0])
    assert told["ok"] is False and told["findings"][2]["fix"] == "take another."
    assert json.loads(nola("doctor", "--quick", "--json")[0])["ok"] is True


def test_it_works_outside_a_project(nola: Nola, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOLA_DEVICE", "cpu")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert "warn  project " in nola("doctor")[0]
