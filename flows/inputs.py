"""The first thing a run does: write down what every stage depends on, so that DVC sees what has changed."""

from __future__ import annotations

import importlib
from pathlib import Path

import nola_core


def prepare_inputs(root: Path) -> None:
    """Bring `data/inputs.json` up to date, as the stage `resolve` does for a plain `dvc repro`.

    Raises:
        NolaError: the definition of a data set or `params.yaml` is wrong.
    """
    if (Path(nola_core.__file__).parent / "inputs.py").is_file():
        importlib.import_module("nola_core.inputs").write(root)
