"""A tiny project up to `classify`, its labels taken away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.project import change, make_project, run


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("project"))
    change(root / "params.yaml", "describe", "rounds", value=2)
    for stage in ("prepare", "describe", "embed clip", "classify"):
        assert run(root, stage) == 0
    (root / "data" / "blobs" / "labels.parquet").unlink()
    return root


@pytest.fixture
def project(classified: Path, tmp_path: Path) -> Path:
    shutil.copytree(classified, tmp_path / "p")
    return tmp_path / "p"
