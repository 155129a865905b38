"""`nola run` and `nola publish` from a sub-folder of a project whose stages are quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.commands.conftest import Nola


@pytest.mark.usefixtures("prefect_server")
def test_they_work_below_the_project(make_repo: Callable[..., Path], nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repo(pets="", birds="")
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    assert f"in {root}:" in nola("run", "--dataset", "pets", "--target", "prepare")[1]
    assert [path.parent.name for path in root.glob("data/*/classes.parquet")] == ["pets"]
    monkeypatch.chdir(root / "below")
    assert "birds is not published: " in nola("publish", "--dataset", "birds", status=1)[1]
