"""Which pair a machine can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from nola_core.backbones.choice import working
from nola_core.errors import NolaError


def test_the_first_that_works_and_why_not_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert working(["demo", "dinov2"]) == ("demo", "")
    name, why = working(["dinov2", "demo"])
    assert name == "demo" and why.startswith("dinov2: ") and "not in the cache" in why
    with pytest.raises(NolaError, match="no pair of backbones can be used here; choose one with --backbones"):
        working(["dinov2"])
