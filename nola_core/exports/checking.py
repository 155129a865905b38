"""Images that an exported model is checked on, and how near its answers must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from nola_core.datasets.given import Images, given
from nola_core.datasets.opener import image_opener
from nola_core.errors import NolaError
from nola_core.files import read_table

CHECKED = 200
"""Images a model is checked on, at most."""
TOLERANCE = 1e-3
"""Largest difference in a probability."""


def collection(root: Path, dataset: str) -> Iterator[Image.Image]:
    """Images of a data set for the check, evenly from all of it."""
    manifest = read_table(root / "data" / dataset / "manifest.parquet", ["image_id", "ok"])
    ids = manifest["image_id"][manifest["ok"]].to_numpy()
    chosen = ids[np.unique(np.linspace(0, len(ids) - 1, min(CHECKED, len(ids))).round().astype(int))] if len(ids) else ids
    return map(image_opener(root, dataset), chosen)


def readable(images: Images) -> Iterator[Image.Image]:
    """The given images that can be opened."""
    for one in given(images):
        try:
            yield one.open()
        except NolaError:
            continue


class Check:
    """Counts how far another program's probabilities are from ours."""

    def __init__(self) -> None:
        self.images = self.same = 0
        self.difference = 0.0

    def add(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Probabilities of some images, [B, C] each."""
        difference = float(np.abs(found - expected).max())
        self.difference = max(self.difference, difference if np.isfinite(difference) else float("inf"))
        self.same += int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
        self.images += len(found)

    @property
    def agrees(self) -> bool:
        """Whether every answer is the same and no probability differs by more than `TOLERANCE`."""
        return self.same == self.images and self.difference <= TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.same} of {self.images} answers are the same, the largest difference in a probability is {self.difference:.2g}"
        )

    def record(self, versions: dict[str, str]) -> dict[str, object]:
        """For `model.json`.

        Raises:
            NolaError: there was no image.
        """
        if not self.images:
            raise NolaError("there is no image to check the model on; give some with --images.")
        return {
            "images": self.images,
            "largest_difference": self.difference,
            "same_answers": self.same,
            "tolerance": TOLERANCE,
            "versions": versions,
        }
