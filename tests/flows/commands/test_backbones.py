"""`nola backbones` lists the pairs, checks one, and prints what would be recorded of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.commands.conftest import Nola


def test_both_backbones_of_a_pair_that_comes_with_nola_are_there_without_a_project(
    tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = nola("backbones", "demo")[0].splitlines()
    assert out[0] == "clip: 96 features" and "ssl: 128 features" in out
    for key in ("model: package:demo/clip", "model: package:demo/ssl"):
        assert f"  {key}" in out
    assert sum(line.startswith("  weights_sha256: ") and len(line) == 18 + 64 for line in out) == 2
    checked = nola("backbones", "demo", "--check")[0].splitlines()
    assert checked[0] == "clip: package:demo/clip" and checked[1].endswith("demo/clip (3.7 MB)")
    files = json.loads(nola("backbones", "demo", "--check", "--json")[0])["ssl"]["files"]
    assert len(files) == 1 and files[0]["here"] and files[0]["place"].endswith("demo/ssl")
    assert json.loads(nola("backbones", "demo", "--json")[0])["clip"]["features"] == 96


def test_pairs_are_listed_and_a_wrong_one_is_one_sentence(nola: Nola) -> None:
    assert nola("backbones")[0].splitlines() == json.loads(nola("backbones", "--json")[0])
    assert "demo" in nola("backbones")[0].splitlines()
    assert nola("backbones", "dmeo", status=1)[1] == "error: pairs.yaml has no backbone pair 'dmeo'; did you mean 'demo'?\n"
