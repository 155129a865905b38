"""The first thing a run does: write down what every stage depends on, so that DVC sees what has changed."""

from __future__ import annotations

from pathlib import Path

from nola_core import inputs

FIRST_STEP = Path("data") / "dvc.yaml"


def prepare_inputs(root: Path) -> None:
    """Bring `data/inputs` up to date where the pipeline has such a step, as its stage `resolve` does for a plain `dvc repro`.

    Raises:
        NolaError: params.yaml is not sound.
    """
    if (root / FIRST_STEP).is_file():
        inputs.write(root)
