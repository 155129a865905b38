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
    """The reader a definition asks for; see `FolderReader`."""
    return FolderReader(Path(definition.source))


class FolderReader:
    """A folder of image files, nested as one likes.

    Sub-folders named train, val or test (or training, validation, ...) at the top, and no others, are splits. The folder an
    image lies in is its label, for whoever asks. Anything with an image's suffix is listed; other files, and hidden ones, are
    passed over. Links to folders are followed, except to one they lie in.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NolaError(f"the image folder {root} does not exist.")
        self.root = root
        tops = {name.lower() for name in top_folders(root)}
        self.has_splits = tops <= set(SPLIT_NAMES) and "train" in {SPLIT_NAMES[top] for top in tops}

    def scan(self) -> Iterator[Found]:
        for parts, _ in walk(self.root):
            if not is_image(parts[-1]):
                continue
            relative = "/".join(parts)
            if self.has_splits and len(parts) == 1:
                raise NolaError(f"{self.root}: image '{relative}' lies beside the split folders; move it into one of them.")
            split = SPLIT_NAMES[parts[0].lower()] if self.has_splits else None
            folders = parts[1 if self.has_splits else 0 : -1]
            name = relative.encode("utf-8", "backslashreplace").decode()
            problem = "" if name == relative else "the file name is no UTF-8; rename it"
            label = folders[-1].encode("utf-8", "backslashreplace").decode() if folders else None
            yield Found(name, name, "", -1, split, label, problem)

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        return read_file(self.root / path)

    def class_names(self) -> list[str]:
        return sorted({found.label for found in self.scan() if found.label is not None})


def is_image(name: str) -> bool:
    """Whether a file is called like an image. A link to nowhere is listed too, as unreadable."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (a million times: a Path is slow)


def top_folders(root: Path) -> list[str]:
    """The folders right below `root`, but for hidden ones.

    Raises:
        NolaError: it cannot be listed.
    """
    return [entry.name for entry in _entries(root) if _is_folder(entry)]


def walk(root: Path) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    """Every file below a folder in a fixed order, with the names on the way to it; nothing is opened.

    Whatever is no folder counts as a file: pipes, devices, links to nowhere or in a circle. Hidden names are passed over. Links
    to folders are followed, except to one they lie in.

    Raises:
        NolaError: a folder cannot be listed.
    """
    return _walk(root, (), ())


def _walk(
    folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    entries, status = _entries(folder), folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link back to a folder we are in
        return
    for entry in entries:
        if _is_folder(entry):
            yield from _walk(folder / entry.name, (*parts, entry.name), (*above, here))
        else:
            yield (*parts, entry.name), entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, but for hidden entries."""
    try:
        with os.scandir(folder) as listing:
            return sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise NolaError(f"the folder {printable(str(folder))} cannot be listed ({error.strerror}).") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle: it is no folder, and as an image it is unreadable
        return False
