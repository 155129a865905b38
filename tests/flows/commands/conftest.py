"""A project with one small finished data set, and a way to call `nola` in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from tests.project import ROOT
from tests.report.example import image_of, write_example

Nola = Callable[..., tuple[str, str]]


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own params.yaml and dvc.yaml and the results of `pets`; tests must not write to it."""
    root = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root / name)
    write_example(root / "data" / "pets")
    return root


@pytest.fixture
def nola(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nola:
    """Run a command in this process; returns what it wrote to stdout and to stderr."""
    monkeypatch.setattr("nola_core.datasets.opener.image_opener", lambda *_: image_of)
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it; a table in a pipe is as wide as it needs

    def ran(*words: str, status: int = 0) -> tuple[str, str]:
        assert main(words) == status, capsys.readouterr().err
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    return ran
