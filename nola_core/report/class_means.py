"""Class means of predicted images in one feature space: the most typical images of a class, and the description nearest to it.

A large store is read in blocks, twice at most; memory holds the means of the classes asked about and one number an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nola_core.features import FeatureStore, normalized

BLOCK = 8_192
"""Images read at once."""


@dataclass(frozen=True)
class ClassMeans:
    """Means of the unit rows of a store.

    Attributes:
        classes: class ids asked about, S of them.
        means: float32 [S, d], not normalised; zeros for a class without an image.
        average: float32 [d], of all images.
    """

    classes: list[int]
    means: np.ndarray
    average: np.ndarray


def class_means(store: FeatureStore, answers: pd.Series[int], classes: Sequence[int]) -> ClassMeans:
    """The means of the images predicted to be of some classes.

    Args:
        store: of the split; images without an answer are left out.
        answers: class ids by image id.
        classes: class ids.
    """
    slots = _slots(store, answers, classes)
    sums = np.zeros((len(classes) + 1, store.features.shape[1]), np.float64)
    counts = np.bincount(slots, minlength=len(classes) + 1).astype(np.float64)
    for start, stop in _blocks(len(slots)):
        here = slots[start:stop]
        sums += (here[None, :] == np.arange(len(classes) + 1)[:, None]).astype(np.float32) @ store.block(start, stop)
    means = sums[:-1] / np.maximum(counts[:-1, None], 1)
    average = sums.sum(axis=0) / max(1.0, counts.sum())
    return ClassMeans(list(classes), means.astype(np.float32), average.astype(np.float32))


def typical(store: FeatureStore, answers: pd.Series[int], means: ClassMeans, count: int) -> list[list[str]]:
    """The image ids nearest to the mean of each class among those predicted to be of it, nearest first."""
    slots = _slots(store, answers, means.classes)
    directions = normalized(np.vstack([means.means, np.zeros_like(means.means[:1])]))
    cosines = np.empty(len(slots), np.float32)
    for start, stop in _blocks(len(slots)):
        cosines[start:stop] = np.einsum("nd,nd->n", store.block(start, stop), directions[slots[start:stop]])
    found = []
    for slot in range(len(means.classes)):
        mine = np.flatnonzero(slots == slot)
        nearest = mine[np.argsort(-cosines[mine], kind="stable")[:count]]
        found.append([str(image_id) for image_id in store.index["image_id"].iloc[nearest]])
    return found


def best_text(means: ClassMeans, slot: int, texts: np.ndarray) -> tuple[int, float]:
    """Which of a class's texts speaks most for its images: the largest cosine to their mean minus that to the average image.

    Args:
        slot: the class, by its place in `means.classes`.
        texts: float32 [T, d], unit rows, T >= 1, in CLIP's space as the means.

    Returns:
        Its number, and the difference.
    """
    values = texts @ (means.means[slot] - means.average)
    best = int(values.argmax())
    return best, float(values[best])


def places(store: FeatureStore, images: pd.Index[Any]) -> np.ndarray:
    """The place of every row of a store among some images, int64 [N]; -1 where it is none of them.

    Predictions usually are in the order of the store. Then no hash table of a million names is made.
    """
    ids = pd.Index(store.index["image_id"])
    return np.arange(len(ids)) if ids.equals(images) else images.get_indexer(ids)


def _slots(store: FeatureStore, answers: pd.Series[int], classes: Sequence[int]) -> np.ndarray:
    """The place in `classes` of the answer for every row of the store, int64; S where it is another class."""
    rows = places(store, answers.index)
    given = answers.to_numpy()[rows]
    slots = np.full(len(given), len(classes), np.int64)
    for slot, class_id in enumerate(classes):
        slots[(given == class_id) & (rows >= 0)] = slot
    return slots


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))
