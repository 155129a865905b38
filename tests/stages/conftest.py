"""Stages in child processes, and a project they have finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import AFTER_TRUTH, ORDER, make_project
from tests.stages.children import Stages


@pytest.fixture(scope="session")
def stages() -> Iterator[Stages]:
    with Stages() as started:
        yield started


@pytest.fixture(scope="session")
def complete(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project with every stage's outputs; to be copied, not changed."""
    root = make_project(tmp_path_factory.mktemp("complete"))
    for stage in (*ORDER, *AFTER_TRUTH):
        status, said = stages.run(root, stage)
        assert status == 0, said
    return root
