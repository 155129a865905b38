"""The descriptions nearest to an image, of the class predicted for it and of the second class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from nola_core import files
from nola_core.features import FeatureStore, normalized
from nola_core.prediction import Predictions
from nola_core.tensors import read_tensors

IMAGES = 12
"""Images explained, spread evenly from the most to the least confident prediction."""
NEAREST = 3
"""Descriptions of the predicted class that are quoted; of the runner-up one."""
SIDE = 96
"""Pixels of the longer side of a picture."""


@dataclass(frozen=True)
class Explanation:
    """One image: its prediction, and the sentences nearest to it with their cosines, best first."""

    image_id: str
    name: str
    probability: float
    sentences: list[tuple[str, float]]
    runner_up: str
    runner_up_probability: float
    runner_up_sentences: list[tuple[str, float]]
    file: Path


def explain(
    folder: Path, *, split: str, method: str, names: list[str], image_of: Callable[[str], Image.Image], pictures: Path
) -> list[Explanation]:
    """Explain a few predictions by the descriptions whose CLIP features are nearest to the image's by cosine.

    The features are those of the frozen CLIP, before tuning. Whatever the method is, they show which descriptions fit the image,
    not what the method computes.

    Args:
        folder: `data/<dataset>`; reads predictions.parquet, description_quality.parquet, description_features.safetensors and
            the CLIP feature store of the split.
        split: whose images.
        method: whose predictions.
        names: class names by class id.
        image_of: image id -> image.
        pictures: an existing folder for `why-<number>.png`.

    Returns:
        Nothing where there are no descriptions.
    """
    described = files.read_table(folder / "description_quality.parquet", ["class_id", "text"])
    if described.empty:
        return []
    columns = ["image_id", "probability", "top_classes", "top_probabilities"]
    table = Predictions.open(folder / "predictions.parquet").read(split, method, columns)
    table = table.sort_values(["probability", "image_id"], ascending=[False, True], ignore_index=True)
    shown = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(IMAGES, len(table))).round().astype(int))]
    texts = normalized(read_tensors(folder / "description_features.safetensors")["features"].numpy())
    images = FeatureStore.open(folder / "features" / "clip" / split).rows(shown["image_id"].tolist())
    found = []
    for number, (row, feature) in enumerate(zip(shown.to_dict("records"), images, strict=True)):
        first, second = (int(class_id) for class_id in row["top_classes"][:2])
        file = pictures / f"why-{number:02d}.png"
        _save(image_of(str(row["image_id"])), file)
        found.append(
            Explanation(
                str(row["image_id"]),
                names[first],
                float(row["top_probabilities"][0]),
                nearest(feature, described, texts, first, NEAREST),
                names[second],
                float(row["top_probabilities"][1]),
                nearest(feature, described, texts, second, 1),
                file,
            )
        )
    return found


def nearest(
    feature: np.ndarray, described: pd.DataFrame, texts: np.ndarray, class_id: int, count: int
) -> list[tuple[str, float]]:
    """The texts of a class nearest to an image, with their cosines, best first.

    Args:
        feature: float32 [d], unit.
        described: `class_id, text`, row by row with `texts`.
        texts: float32 [T, d], unit rows.
    """
    mine = np.flatnonzero(described["class_id"] == class_id)
    cosines = texts[mine] @ feature
    order = np.argsort(-cosines, kind="stable")[:count]
    return [(str(described["text"].iloc[mine[row]]), float(cosines[row])) for row in order]


def _save(image: Image.Image, file: Path) -> None:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.save(file, optimize=True)
