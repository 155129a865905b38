"""`nola backbones` lists the pairs, checks one, and prints what would be recorded of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nola_core.backbones.pairs import load_pair
from tests.flows.commands.conftest import Nola
from tests.tiny import write_clip, write_ssl


def test_both_backbones_of_a_pair_with_weights_counted_from_the_project(
    tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "demo" / "clip")
    write_ssl(tmp_path / "demo" / "ssl")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "demo")
    assert load_pair("demo").clip.model == "local-dir:demo/clip"
    out = nola("backbones", "demo")[0].splitlines()
    assert out[0] == "clip: 16 features" and "ssl: 24 features" in out
    for key in ("model: local-dir:demo/clip", "model: local-dir:demo/ssl"):
        assert f"  {key}" in out
    assert sum(line.startswith("  weights_sha256: ") and len(line) == 18 + 64 for line in out) == 2
    checked = nola("backbones", "demo", "--check")[0].splitlines()
    assert checked[0] == "clip: local-dir:demo/clip" and checked[1].startswith("  ../demo/clip (")


def test_pairs_are_listed_and_a_wrong_one_is_one_sentence(nola: Nola) -> None:
    assert "demo" in nola("backbones")[0].splitlines()
    assert nola("backbones", "dmeo", status=1)[1] == "error: pairs.yaml has no backbone pair 'dmeo'; did you mean 'demo'?\n"
