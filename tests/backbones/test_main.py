"""`python -m nola_core.backbones PAIR` prints what would be recorded of a pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from nola_core.backbones import __main__ as command
from nola_core.backbones.pairs import load_pair
from tests.tiny import write_clip, write_ssl


def test_it_prints_both_backbones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "demo" / "clip")
    write_ssl(tmp_path / "demo" / "ssl")
    monkeypatch.chdir(tmp_path)
    assert load_pair("demo").clip.model == "local-dir:demo/clip"
    assert command.main(["demo"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "clip: 16 features" and "ssl: 24 features" in out
    for key in ("model: local-dir:demo/clip", "model: local-dir:demo/ssl"):
        assert f"  {key}" in out
    assert sum(line.startswith("  weights_sha256: ") and len(line) == 18 + 64 for line in out) == 2


def test_it_fails_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["dmeo"]) == 1
    assert capsys.readouterr().err == "error: pairs.yaml has no backbone pair 'dmeo'; did you mean 'demo'?\n"
