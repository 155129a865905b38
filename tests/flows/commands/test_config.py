"""`nola config` checks params.yaml, prints the differences from its preset, and writes a preset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nola_core.config import load
from tests.flows.commands.conftest import Nola
from tests.project import ROOT


def test_what_differs_and_another_preset(tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text().replace("min_per_class: 16", "min_per_class: 8"))
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert nola("config")[0].splitlines() == [
        "../params.yaml is sound; preset paper, with these changes:",
        "  select.min_per_class = 8 (preset: 16)",
    ]
    difference = {"key": "select.min_per_class", "value": 8, "preset_value": 16}
    assert json.loads(nola("config", "--json")[0]) == {"preset": "paper", "differences": [difference]}
    assert nola("config", "--preset", "best")[0] == "../params.yaml\n"
    assert load(tmp_path).preset == "best" and load(tmp_path).differences() == []
    assert nola("config")[0] == "../params.yaml is sound; preset best, unchanged\n"


def test_a_wrong_key_is_named(tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("  hidden:", "  hiden:"))
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert "unknown key 'alignment.hiden': did you mean 'hidden'?" in nola("config", status=1)[1]
