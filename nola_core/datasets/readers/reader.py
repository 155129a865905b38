"""What every reader is, and what readers share: names of splits, and files that are read without a surprise."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nola_core.errors import NolaError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
SPLITS = ("train", "val", "test")
SPLIT_NAMES: Mapping[str, str] = {
    **{name: name for name in SPLITS},
    **{"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"},
}
"""What sources call their splits -> what NoLA calls them."""
NAME_FILES = ("classnames.txt", "classes.txt")
"""Class names beside shards, one a line."""
MAX_BYTES = 2**29
"""Files of more bytes are no images: they are recorded as unreadable instead of being read into memory."""


@dataclass(frozen=True)
class Found:
    """One entry of a collection, not yet opened. `path`, `shard` and `row` are what `Reader.read` needs to find it again."""

    image_id: str
    path: str
    shard: str
    row: int
    split: str | None
    label: str | None
    problem: str = ""
    """Why the entry cannot be read, where the list itself shows it; it becomes the `reason` of the manifest."""


class Reader(Protocol):
    """A source of images."""

    def scan(self) -> Iterator[Found]:
        """Every entry, in a fixed order. Called more than once; memory does not grow with the collection."""

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        """The encoded bytes of one entry; called from several threads at a time.

        Raises:
            OSError: the entry is not there any more or cannot be read.
        """

    def class_names(self) -> list[str]:
        """Class names the source itself carries, or an empty list."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; a pipe, a device or a folder of that name is refused instead of waited for.

    Raises:
        OSError: it cannot be opened, is no regular file, or holds more than `MAX_BYTES`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device can do more than open it
            raise OSError("it is no regular file")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a zero byte in the name, or a name that is no UTF-8
        raise OSError(f"no file can have this name: {error}") from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        check_size(status.st_size)
        return stream.read()


def lines_of(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, whatever system ended them, without a byte order mark.

    Raises:
        OSError: it cannot be read, or is no regular file.
        UnicodeDecodeError: it is no UTF-8.
    """
    text = read_file(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def check_size(size: int) -> None:
    """Refuse an entry of more than `MAX_BYTES`.

    Raises:
        OSError: it is larger.
    """
    if size > MAX_BYTES:
        raise OSError(f"{size:,} bytes are more than an image has (at most {MAX_BYTES:,})")


def split_named(name: str, splits: Mapping[str, str] | None, *, source: Path) -> str | None:
    """NoLA's name of a split of the source; None where `splits` (`images.splits`) is given and leaves it out.

    Raises:
        NolaError: nobody says what the split is.
    """
    if splits is not None:
        return splits.get(name)
    if name.strip().lower() not in SPLIT_NAMES:
        raise NolaError(
            f"{source}: the split '{name}' is none of {', '.join(SPLIT_NAMES)}; say what it is by images.splits, for example "
            f"{{{name or 'other'}: train}} (splits not named there are left out)."
        )
    return SPLIT_NAMES[name.strip().lower()]


def split_in_path(path: str, splits: Mapping[str, str] | None) -> str | None:
    """The first word of a file's path that names a split (`images/train-00001.tar` -> `train`), as the source spells it."""
    known = SPLIT_NAMES if splits is None else splits
    return next((word for word in re.split(r"[-_./\\]", path) if (word.lower() if splits is None else word) in known), None)
