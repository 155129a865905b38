"""The reader interface, and what readers share: split names and safe reading of files."""

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
"""Split names in sources -> NoLA's split names."""
NAME_FILES = ("classnames.txt", "classes.txt")
"""Files with class names next to shards, one name per line."""
MAX_BYTES = 2**29
"""Larger files are not read into memory; they are recorded as unreadable."""


@dataclass(frozen=True)
class Found:
    """One entry of a collection, not opened yet. `Reader.read` finds it by `path`, `shard` and `row`."""

    image_id: str
    path: str
    shard: str
    row: int
    split: str | None
    label: str | None
    problem: str = ""
    """Why the entry cannot be read, if this is known from the listing; it becomes the `reason` in the manifest."""


class Reader(Protocol):
    """A source of images."""

    def scan(self) -> Iterator[Found]:
        """Every entry, in a fixed order. Called more than once; must use constant memory."""

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        """The encoded bytes of one entry; called from several threads.

        Raises:
            OSError: the entry no longer exists or cannot be read.
        """

    def class_names(self) -> list[str]:
        """Class names stored in the source, or an empty list."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. A pipe, a device or a folder raises an error instead of blocking.

    Raises:
        OSError: it cannot be opened, is not a regular file, or has more than `MAX_BYTES`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device can have side effects
            raise OSError("it is not a regular file")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a zero byte in the name, or a name that is not UTF-8
        raise OSError(f"this is not a valid file name: {error}") from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        check_size(status.st_size)
        return stream.read()


def lines_of(path: Path) -> list[str]:
    """The lines of a UTF-8 text file with any kind of line ending, without a byte order mark.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        UnicodeDecodeError: it is not UTF-8.
    """
    text = read_file(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def check_size(size: int) -> None:
    """Refuse an entry of more than `MAX_BYTES`.

    Raises:
        OSError: it is larger.
    """
    if size > MAX_BYTES:
        raise OSError(f"it has {size:,} bytes; the limit for an image is {MAX_BYTES:,}")


def split_named(name: str, splits: Mapping[str, str] | None, *, source: Path) -> str | None:
    """NoLA's name for a split of the source; None if `splits` (`images.splits`) is given and does not list it.

    Raises:
        NolaError: the split is unknown.
    """
    if splits is not None:
        return splits.get(name)
    if name.strip().lower() not in SPLIT_NAMES:
        raise NolaError(
            f"{source}: the split '{name}' is none of {', '.join(SPLIT_NAMES)}; map it with images.splits, for example "
            f"{{{name or 'other'}: train}} (splits not listed there are left out)."
        )
    return SPLIT_NAMES[name.strip().lower()]


def split_in_path(path: str, splits: Mapping[str, str] | None) -> str | None:
    """The first word of a file's path that names a split (`images/train-00001.tar` -> `train`), as the source spells it."""
    known = SPLIT_NAMES if splits is None else splits
    return next((word for word in re.split(r"[-_./\\]", path) if (word.lower() if splits is None else word) in known), None)
