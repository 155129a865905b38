"""Agreement with neighbours: a signal that needs no label and tells which of two methods is more accurate.

It is no accuracy. In the self-supervised features it ranked methods better than chance on every collection of the study, and
better than the methods' order on the other collections (benchmarks/results/signals.md). In CLIP's features it did not; the guard
reads it there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nola_core.probe import nearest_others, vote

NEIGHBORS = 10
GALLERY, QUERIES = 50_000, 5_000
"""Limits for the images that vote and for those they are asked about; above them, a sample with a fixed seed is used."""


class Neighborhood:
    """Which images are nearest to which in one space.

    Args:
        features: float32 [M, d], unit rows.
        asked: the first so many images are asked about; all others only vote.
    """

    def __init__(self, features: np.ndarray, asked: int | None = None) -> None:
        self._similarity, self._index = nearest_others(features, len(features) if asked is None else asked, NEIGHBORS)

    def consistency(self, answers: np.ndarray) -> float:
        """Share of the images asked about whose answer is that of most of their nearest neighbours, in [0, 1].

        It is 1 if all images have one answer: it says nothing about a method that has collapsed.

        Args:
            answers: class ids [M].
        """
        return float((vote(answers[self._index], self._similarity) == answers[: len(self._index)]).mean())


def drawn(images: int) -> tuple[np.ndarray, int]:
    """Images whose features are looked at, by number, and how many of them, the first ones, are asked about."""
    if images <= QUERIES:
        return np.arange(images), images
    return np.random.default_rng(0).permutation(images)[:GALLERY], QUERIES


def consistencies(
    features: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray], asked: int
) -> dict[str, dict[str, float]]:
    """Method -> signal -> value; none of fewer than two images.

    Args:
        features: space -> float32 [M, d], unit rows.
        answers: method -> class ids [M].
        asked: the first so many images are asked about.
    """
    if asked < 2:
        return {method: {} for method in answers}
    found = {f"neighbors_{space}": Neighborhood(rows, asked) for space, rows in features.items()}
    return {method: {name: one.consistency(mine) for name, one in found.items()} for method, mine in answers.items()}
