"""A data set that has been predicted, made by hand: what an audit reads, without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from nola_core.files import PREDICTION_SCHEMA, sha256_file, write_table
from tests.collection import write_collection
from tests.tiny import write_photos

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


def write_predicted(
    root: Path,
    *,
    images: int = 120,
    classes: Sequence[str] = CLASSES,
    accuracy: float = 0.8,
    seed: int = 0,
    pictures: bool = True,
) -> dict[str, str]:
    """A project with the data set `toy`, predicted by the methods `zero_shot` and `evidence`; image id -> the true class.

    Every image belongs to the train split, and `evidence` is the final method.
    """
    write_collection(root, dataset="toy", classes=list(classes))
    folder = root / "data" / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text("stages: {}\n")  # the mark of a project
    names = [f"{number:03d}.png" for number in range(images)]
    if pictures:
        write_photos(root / "images", count=images)
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(classes), size=images)
    manifest = pd.DataFrame(
        {
            "image_id": names,
            "path": names,
            "shard": "",
            "row": -1,
            "split": "train",
            "sha256": [sha256_file(root / "images" / name) if pictures else name for name in names],
            "ok": True,
            "reason": "",
        }
    )
    manifest.to_parquet(folder / "manifest.parquet")
    table = pd.DataFrame({"class_id": range(len(classes)), "name": classes, "display_name": classes})
    table.to_parquet(folder / "classes.parquet")
    rows = [frame(names, truth, len(classes), method, accuracy, rng) for method in ("zero_shot", "evidence")]
    write_table(folder / "predictions.parquet", pd.concat(rows), PREDICTION_SCHEMA)
    inputs = root / "data" / "inputs"
    inputs.mkdir(exist_ok=True)
    (inputs / "toy.json").write_text(json.dumps({"predict": {"final": "evidence"}, "texts": {}}))
    return {name: classes[row] for name, row in zip(names, truth, strict=True)}


def frame(
    names: Sequence[str], truth: np.ndarray, classes: int, method: str, accuracy: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Predictions that are right as often as they are confident."""
    confidence = rng.beta(4 * accuracy, 4 * (1 - accuracy), len(names)).clip(0.01, 0.99)
    right = rng.random(len(names)) < confidence
    answer = np.where(right, truth, (truth + rng.integers(1, classes, len(names))) % classes)
    width = min(5, classes)
    others = [[row for row in range(classes) if row != one][: width - 1] for one in answer]
    return pd.DataFrame(
        {
            "image_id": names,
            "split": "train",
            "method": method,
            "class_id": answer,
            "probability": confidence,
            "margin": confidence / 2,
            "top_classes": [[int(one), *some] for one, some in zip(answer, others, strict=True)],
            "top_probabilities": [[float(one), *([(1 - one) / width] * (width - 1))] for one in confidence],
        }
    )


def rename(root: Path, *names: str) -> None:
    """Other class names."""
    path = root / "data" / "toy" / "classes.parquet"
    pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": names}).to_parquet(path)
    definition = root / "data" / "toy.yaml"
    definition.write_text(yaml.safe_dump(yaml.safe_load(definition.read_text()) | {"classes": list(names)}))
