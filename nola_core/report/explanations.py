"""The descriptions nearest to an image, of the class predicted for it and of the second class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nola_core import files
from nola_core.features import FeatureStore, normalized
from nola_core.report.album import Tile
from nola_core.report.gallery import tile
from nola_core.report.style import percent, shown
from nola_core.report.tables import Tables
from nola_core.tensors import read_tensors

IMAGES = 12
"""Images explained, spread evenly from the most to the least confident prediction."""
NEAREST = 3
"""Descriptions of the predicted class that are quoted; of the runner-up one."""
TEXT = 300
"""Letters of a description that are quoted."""


@dataclass(frozen=True)
class Explanation:
    """One image: its prediction, and the sentences nearest to it with their cosines, best first."""

    tile: Tile
    sentences: list[tuple[str, float]]
    runner_up: str
    runner_up_probability: str
    runner_up_sentences: list[tuple[str, float]]


def explain(folder: Path, tables: Tables) -> list[Explanation]:
    """Explain a few predictions by the descriptions whose CLIP features are nearest to the image's by cosine.

    The features are those of the frozen CLIP, before tuning. Whatever the method is, they show which descriptions fit the image,
    not what the method computes.

    Args:
        folder: `data/<dataset>`; reads description_quality.parquet, description_features.safetensors and the CLIP feature store
            of the reported split.

    Returns:
        Nothing where there are no descriptions.
    """
    described = files.read_table(folder / "description_quality.parquet", ["class_id", "text"])
    if described.empty:
        return []
    top = tables.top
    order = np.argsort(-top.probabilities[:, 0], kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(IMAGES, len(order))).round().astype(int))]
    texts = normalized(read_tensors(folder / "description_features.safetensors")["features"].numpy())
    store = FeatureStore.open(folder / "features" / "clip" / tables.metrics["split"])
    found = []
    for row, feature in zip(rows.tolist(), store.rows(tables.answers.index[rows].tolist()), strict=True):
        first, second = (int(class_id) for class_id in top.classes[row, :2])
        found.append(
            Explanation(
                tile(tables, row),
                nearest(feature, described, texts, first, NEAREST),
                shown(tables.names[second]),
                percent(top.probabilities[row, 1]),
                nearest(feature, described, texts, second, 1),
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
    return [(shown(described["text"].iloc[mine[row]], TEXT), float(cosines[row])) for row in order]
