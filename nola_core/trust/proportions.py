"""Which names seem not to occur: the collection's class proportions, estimated without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

ABSENT_SHARE = 0.1
"""A name seems absent below this share of the average class size N / C ..."""
ABSENT_IMAGES = 0.5
"""... or below so many images, where there are more names than images."""
DOUBT = 0.5
"""It does not where the probabilities themselves give it more than this share of the average class size: where they are nearly
uniform, the EM favours one class without a reason."""
ITERATIONS, TOLERANCE = 100, 1e-6
SCHEMA = pa.schema(
    [
        ("class_id", pa.int32()),
        ("class", pa.string()),
        ("predicted", pa.int64()),
        ("proportion", pa.float64()),
        ("absent", pa.bool_()),
    ]
)


def estimated(top_classes: np.ndarray, top_probabilities: np.ndarray, classes: int) -> np.ndarray:
    """Class proportions by the EM of Saerens, Latinne and Decaestecker (2002) from a uniform start.

    r_ic proportional to p_ic pi_c; pi_c = mean_i r_ic. `algebra.proportions.estimated` does the same on whole posteriors and
    pulls to uniform; this one reads the largest probabilities alone, as prediction tables keep them, so that memory does not
    grow with C, and lets proportions fall to 0.

    Args:
        top_classes: int [N, t].
        top_probabilities: float [N, t], not negative.
        classes: C.

    Returns:
        float64 [C], sum 1; uniform without an image.
    """
    proportions = np.full(classes, 1 / classes)
    if not len(top_classes):
        return proportions
    columns = top_classes.reshape(-1)
    for _ in range(ITERATIONS):
        weights = top_probabilities * proportions[top_classes]
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        counts = np.bincount(columns, weights=weights.reshape(-1), minlength=classes)
        new = counts / counts.sum()
        moved = np.abs(new - proportions).max()
        proportions = new
        if moved <= TOLERANCE:
            break
    return proportions


def table(top_classes: np.ndarray, top_probabilities: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """One row a name: `class_id, class, predicted, proportion, absent`; see `SCHEMA`.

    A name seems absent if the images estimated to be of it are fewer than `ABSENT_SHARE` of the average class size (than
    `ABSENT_IMAGES` where that is more), and its probabilities add up to less than `DOUBT`.
    """
    images, classes = len(top_classes), len(names)
    columns, weights = top_classes.reshape(-1), top_probabilities.astype(np.float64)
    proportions = estimated(top_classes, weights, classes)
    rest = (1 - weights.sum(axis=1)).clip(0) / max(1, classes - weights.shape[1])  # of each class that is not listed
    mass = np.bincount(columns, weights=(weights - rest[:, None]).reshape(-1), minlength=classes) + rest.sum()
    few = proportions * images < max(ABSENT_IMAGES, ABSENT_SHARE * images / classes)
    predicted = np.bincount(top_classes[:, 0], minlength=classes)
    return pd.DataFrame(
        {
            "class_id": np.arange(classes),
            "class": list(names),
            "predicted": predicted,
            "proportion": proportions,
            "absent": few & (mass < DOUBT * images / classes),
        }
    )


def sentence(proportions: pd.DataFrame, most: int = 8) -> str:
    """Which names seem absent; empty if none."""
    names = proportions.loc[proportions["absent"], "class"].tolist()
    if not names:
        return ""
    shown = ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
    verb = "seems" if len(names) == 1 else "seem"
    return f"{len(names):,} of {len(proportions):,} names {verb} not to occur in the images: {shown}."
