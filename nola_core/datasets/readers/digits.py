"""The default collection, which is included in scikit-learn."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import Found


def from_definition(definition: DatasetDefinition) -> DigitsReader:
    """The reader for a definition; it has no options."""
    return DigitsReader()


class DigitsReader:
    """The 1,797 handwritten digits that come with scikit-learn (UCI optical recognition of handwritten digits, 8 x 8)."""

    shard = "sklearn.datasets.load_digits"

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        self.images: np.ndarray = bunch.images
        self.target: np.ndarray = bunch.target

    def scan(self) -> Iterator[Found]:
        names = self.class_names()
        for row, target in enumerate(self.target):
            yield Found(f"{row:04d}", "", self.shard, row, None, names[int(target)])

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        small = Image.fromarray(np.uint8(np.round(self.images[row] * 255 / 16)), "L")
        stream = io.BytesIO()
        small.resize((32, 32), Image.Resampling.BICUBIC).convert("RGB").save(stream, "BMP")
        return stream.getvalue()

    def class_names(self) -> list[str]:
        return ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
