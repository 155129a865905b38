"""A tiny project up to `classify`, its labels taken away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.project import change, make_project, run


def write_classified(root: Path) -> Path:
    """Make that project in `root`."""
    make_project(root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    change(root / "params.yaml", "describe", "rounds", value=2)
    for stage in ("prepare", "describe", "embed clip", "classify"):
        assert run(root, stage) == 0
    (root / "data" / "blobs" / "labels.parquet").unlink()
    return root


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classified(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(classified: Path, tmp_path: Path) -> Path:
    shutil.copytree(classified, tmp_path / "p")
    return tmp_path / "p"
