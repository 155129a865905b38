"""Folders of image files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import SPLIT_NAMES, SUFFIXES, Found, read_file
from nola_core.errors import NolaError
from nola_core.text import printable


def from_definition(definition: DatasetDefinition) -> FolderReader:
    """The reader for a definition; see `FolderReader`."""
    return FolderReader(Path(definition.source))


class FolderReader:
    """A folder of image files, nested in any way.

    If all top-level sub-folders are named train, val or test (or training, validation, ...), they are splits. The name of an
    image's folder is its label. Every file with an image suffix is listed; other files and hidden files are ignored. Links to
    folders are followed, except links to a parent folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NolaError(f"the image folder {root} does not exist; check the path.")
        self.root = root
        tops = {name.lower() for name in top_folders(root)}
        self.has_splits = tops <= set(SPLIT_NAMES) and "train" in {SPLIT_NAMES[top] for top in tops}

    def scan(self) -> Iterator[Found]:
        for parts, _ in walk(self.root):
            if not is_image(parts[-1]):
                continue
            relative = "/".join(parts)
            if self.has_splits and len(parts) == 1:
                raise NolaError(f"{self.root}: image '{relative}' is outside the split folders; move it into one of them.")
            split = SPLIT_NAMES[parts[0].lower()] if self.has_splits else None
            folders = parts[1 if self.has_splits else 0 : -1]
            name = relative.encode("utf-8", "backslashreplace").decode()
            problem = "" if name == relative else "the file name is not UTF-8; rename it"
            label = folders[-1].encode("utf-8", "backslashreplace").decode() if folders else None
            yield Found(name, name, "", -1, split, label, problem)

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        return read_file(self.root / path)

    def class_names(self) -> list[str]:
        return sorted({found.label for found in self.scan() if found.label is not None})


def is_image(name: str) -> bool:
    """Whether a file name has an image suffix. A broken link counts too and is recorded as unreadable."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (a million times: a Path is slow)


def top_folders(root: Path) -> list[str]:
    """The folders directly below `root`, without hidden ones.

    Raises:
        NolaError: `root` cannot be listed.
    """
    return [entry.name for entry in _entries(root) if _is_folder(entry)]


def walk(root: Path) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    """Every file below a folder in a fixed order, with its path parts; no file is opened.

    Everything that is not a folder counts as a file: pipes, devices, broken and circular links. Hidden names are ignored. Links
    to folders are followed, except links to a parent folder.

    Raises:
        NolaError: a folder cannot be listed.
    """
    return _walk(root, (), ())


def _walk(
    folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    entries, status = _entries(folder), folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a parent folder
        return
    for entry in entries:
        if _is_folder(entry):
            yield from _walk(folder / entry.name, (*parts, entry.name), (*above, here))
        else:
            yield (*parts, entry.name), entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones."""
    try:
        with os.scandir(folder) as listing:
            return sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise NolaError(f"the folder {printable(str(folder))} cannot be listed ({error.strerror}).") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link: not a folder, and unreadable as an image
        return False
