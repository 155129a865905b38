from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import write_clip, write_ssl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("towers")
    write_clip(root / "clip")
    write_ssl(root / "ssl")
    return root
