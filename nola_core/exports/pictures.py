"""The image files of a data set, put under names that every file system and tool takes."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nola_core.datasets.definition import load_definition
from nola_core.datasets.image import FORMATS
from nola_core.datasets.readers import open_reader
from nola_core.datasets.readers.reader import SUFFIXES
from nola_core.errors import NolaError

COLUMNS = ("path", "shard", "row", "sha256")
"""Of the manifest: what `Pictures` needs of an image."""
SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "DIB": ".bmp", "GIF": ".gif"}
UNSAFE = frozenset('/\\:*?"<>|')
"""Characters that a file name cannot have somewhere."""
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""Names that Windows keeps for devices."""
LONGEST = 120
"""Bytes of a name; file systems take 255."""


class Pictures:
    """Reads the images of a data set, or links to them, by the rows of its manifest.

    Raises:
        NolaError: its definition or its source cannot be opened.
    """

    def __init__(self, root: Path, dataset: str) -> None:
        self._definition = load_definition(root, dataset)
        self._reader = open_reader(self._definition)

    def read(self, image: Any) -> bytes:
        """The bytes of an image file.

        Args:
            image: a row with `image_id` and `COLUMNS` as attributes.

        Raises:
            NolaError: it cannot be read, or is not what `prepare` read.
        """
        what = f"image '{image.image_id}' of {self._definition.source}"
        try:
            data = self._reader.read(path=str(image.path), shard=str(image.shard), row=int(image.row))
        except OSError as error:
            raise NolaError(f"{what} cannot be read ({error.strerror or error}); restore it.") from None
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise NolaError(f"{what} has changed since the run; restore it, or run `nola run` again.")
        return data

    def put(self, image: Any, number: int, folder: Path, *, link: bool) -> str:
        """Copy or link an image into a folder.

        Args:
            image: as for `read`.
            number: makes the name unique.
            folder: is made if it is not there.

        Returns:
            The name of the file: the number, the readable part of its id, and a suffix that says its format.

        Raises:
            NolaError: see `read`; or `link`, and the image is no file of its own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stem, suffix = posixpath.splitext(posixpath.basename(image.image_id))
        if suffix.lower() not in SUFFIXES:
            stem, suffix = stem + suffix, ""
        data = self.read(image) if not (link and suffix) else None
        if not suffix and data is not None:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                suffix = SUFFIX_OF.get(str(opened.format), f".{str(opened.format).lower()}")
        name = f"{number:06d}-{plain(stem) or 'image'}{suffix.lower()}"
        if link:
            (folder / name).symlink_to(self._place(image))
        else:
            assert data is not None
            (folder / name).write_bytes(data)
        return name

    def _place(self, image: Any) -> Path:
        """The file of an image."""
        root = getattr(self._reader, "root", None)
        place = Path(os.path.abspath(Path(root) / str(image.path))) if root is not None and not image.shard else None  # noqa: PTH100 (keeps links)
        if place is None or not place.is_file():
            raise NolaError(f"image '{image.image_id}' of {self._definition.source} is no file to link to; leave out --link.")
        return place


def plain(text: str, *, most: int = LONGEST) -> str:
    """`text` as a part of a file name: no character that a file system refuses, at most `most` bytes; it may be empty."""
    shown = "".join(letter if letter.isprintable() and letter not in UNSAFE else "_" for letter in text)
    return shown.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").strip(" .")


def class_folders(names: Sequence[str]) -> list[str]:
    """One folder name a class: its own name where every file system takes that, else a readable part and a hash."""
    taken: set[str] = set()
    folders = []
    for name in names:
        folder = plain(name)
        alike = unicodedata.normalize("NFKC", folder).casefold()
        if folder != name or alike in taken or alike.split(".")[0] in RESERVED:
            folder = f"{folder}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".lstrip("-")
        taken.add(alike)
        folders.append(folder)
    return folders
