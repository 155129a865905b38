"""docs/quickstart.ipynb runs from top to bottom, and its outputs are those that it was saved with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.project import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def run(path: Path, folder: Path) -> Any:
    """A notebook after its run, in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: Any) -> list[list[str]]:
    """The texts that each cell of code shows; of fractions, whose last digits depend on the machine, one digit."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [one for one in cell.outputs if one.get("name") != "stderr"]
            texts = [one.get("text") or one["data"].get("text/plain", "") for one in shown]
            found.append([re.sub(r"(\d\.\d)\d*", r"\1", text) for text in texts])
    return found


@pytest.mark.timeout(600)  # a kernel of its own, which imports torch
def test_the_notebook_runs_and_shows_what_it_was_saved_with(tmp_path: Path) -> None:
    saved = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.execution_count for cell in saved.cells if cell.cell_type == "code"] == list(range(1, 7))
    assert outputs(run(NOTEBOOK, tmp_path)) == outputs(saved)
    assert not list(tmp_path.iterdir())
