"""Where images come from: each reader lists what it finds and gives the bytes or the picture of one entry."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from nola_core.datasets.definition import DatasetDefinition
from nola_core.errors import NolaError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Found:
    """One entry of a collection, not yet opened. Either `path` is set, or `shard` and `row`."""

    image_id: str
    path: str
    shard: str
    row: int
    split: str | None
    label: str | None


class Reader(Protocol):
    """A source of images."""

    def scan(self) -> Iterator[Found]:
        """Every entry, in a fixed order."""

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        """The encoded bytes of one entry."""

    def class_names(self) -> list[str]:
        """Class names the source itself carries, or an empty list."""


class FolderReader:
    """A folder of image files, nested as one likes.

    Sub-folders named train, val or test at the top, and no others, are splits. The folder an image lies in is its label, for
    whoever asks. Anything with an image's suffix is listed; other files, and hidden ones, are passed over.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NolaError(f"the image folder {root} does not exist.")
        self.root = root
        tops = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        self.has_splits = "train" in tops and tops <= set(SPLITS)

    def scan(self) -> Iterator[Found]:
        for path in sorted(self.root.rglob("*")):
            relative = path.relative_to(self.root)
            hidden = any(part.startswith(".") for part in relative.parts)
            if path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir():  # a broken link is listed, as unreadable
                self._check(relative)
                split = relative.parts[0] if self.has_splits else None
                folders = relative.parts[1 if self.has_splits else 0 : -1]
                label = folders[-1] if folders else None
                yield Found(relative.as_posix(), relative.as_posix(), "", -1, split, label)

    def _check(self, relative: Path) -> None:
        if self.has_splits and len(relative.parts) == 1:
            raise NolaError(f"{self.root}: image '{relative}' lies beside the split folders; move it into one of them.")
        try:
            str(relative).encode()
        except UnicodeEncodeError:
            raise NolaError(f"{self.root}: the file name {str(relative)!r} is no UTF-8; rename it.") from None

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        return (self.root / path).read_bytes()

    def class_names(self) -> list[str]:
        return sorted({found.label for found in self.scan() if found.label is not None})


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


def open_reader(definition: DatasetDefinition) -> Reader:
    """The reader a definition asks for.

    Raises:
        NolaError: its folder or file is absent.
    """
    if definition.images.reader == "folder":
        return FolderReader(Path(definition.source))
    return DigitsReader()
