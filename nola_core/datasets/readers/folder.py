"""Folders of image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nola_core.datasets.readers.reader import SPLITS, Found
from nola_core.errors import NolaError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


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
