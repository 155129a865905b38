"""A collection for tests: the real params.yaml with one data set of its own, without stages or models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PARAMS = Path(__file__).parent.parent / "params.yaml"


def write_collection(root: Path, *, dataset: str = "toy", **definition: Any) -> Path:
    """`params.yaml` and `data/<dataset>.yaml` below `root`; `definition` overrides keys of the data set."""
    params = yaml.safe_load(PARAMS.read_text())
    params["datasets"] = [dataset]
    values = {
        "source": "images",
        "images": {"reader": "folder", "holdout": 0, "labels": "none"},
        "classes": ["cat", "dog"],
        "templates": ["a photo of a {}."],
        "backbones": None,
    }
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data" / f"{dataset}.yaml").write_text(yaml.safe_dump({**values, **definition}))
    return root
