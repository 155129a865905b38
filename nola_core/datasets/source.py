"""The source of a collection as a listing: whether a file came, went or changed, known without opening any."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nola_core.datasets.definition import DIGITS, DatasetDefinition
from nola_core.datasets.readers.folder import is_image, top_folders, walk
from nola_core.datasets.readers.reader import NAME_FILES
from nola_core.errors import NolaError

PATHS = (".csv", ".tsv")
"""Tables that hold paths, never images: what they name lies beside them."""


def fingerprint(definition: DatasetDefinition) -> str:
    """SHA-256 in hex over path, size, time of change and permissions of every file a reader may read.

    Listed are the files below `source`, of a folder of images those called like images, and of a single CSV table whatever
    lies beside it. Hidden files are passed over. Links are followed, except to a folder they lie in. Images that a table
    names elsewhere (`images.outside`) are not seen. About a second for 100,000 files.

    Raises:
        NolaError: the source does not exist, or a folder in it cannot be listed.
    """
    digest = hashlib.sha256()
    for path, status in _listed(definition):
        mark = f"{status.st_size} {status.st_mtime_ns} {status.st_mode}" if status else "absent"
        digest.update(os.fsencode(path) + b"\0" + mark.encode() + b"\0")
    return digest.hexdigest()


def _listed(definition: DatasetDefinition) -> Iterator[tuple[str, os.stat_result | None]]:
    """Path and status of every file, in a fixed order."""
    source, reader = Path(definition.source), definition.images.reader
    if reader == "digits":
        yield DIGITS, None
    elif source.is_dir():
        yield from _below(source, images=reader == "folder")
    elif not os.path.lexists(source):
        raise NolaError(f"data/{definition.name}.yaml: the source {source} does not exist.")
    elif source.suffix.lower() in PATHS:
        yield from _below(source.parent, images=False)
    else:
        yield source.name, _status(source)
        if reader == "webdataset":
            yield from ((name, _status(source.with_name(name))) for name in NAME_FILES)


def _below(folder: Path, *, images: bool) -> Iterator[tuple[str, os.stat_result | None]]:
    if images:  # which folders there are decides whether they are splits
        yield from ((f"{name}/", None) for name in top_folders(folder))
    for parts, entry in walk(folder):
        if not images or is_image(entry.name):
            yield "/".join(parts), _status(entry)


def _status(file: Path | os.DirEntry[str]) -> os.stat_result | None:
    """What a file is, of a link what it leads to or else the link itself; None where there is nothing."""
    try:
        return file.stat()
    except OSError:
        try:
            return file.stat(follow_symlinks=False)
        except OSError:  # gone since it was listed
            return None
