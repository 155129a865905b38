"""Where images come from: each reader lists what it finds and gives the bytes of one entry.

A new reader is a module here, a name in `definition.ReaderName` and a line in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nola_core.datasets.catalog import CatalogReader, load_entry
from nola_core.datasets.definition import DatasetDefinition, ReaderName
from nola_core.datasets.readers.digits import DigitsReader
from nola_core.datasets.readers.folder import FolderReader
from nola_core.datasets.readers.reader import SPLITS, Found, Reader

__all__ = ["READERS", "SPLITS", "Found", "Reader", "open_reader"]

READERS: Mapping[ReaderName, Callable[[DatasetDefinition], Reader]] = {
    "folder": lambda definition: FolderReader(Path(definition.source)),
    "digits": lambda definition: DigitsReader(),
    "catalog": lambda definition: CatalogReader(load_entry(definition.images.catalog or ""), Path(definition.source)),
}


def open_reader(definition: DatasetDefinition) -> Reader:
    """The reader a definition asks for.

    Raises:
        NolaError: its folder or file is absent or not what the reader reads.
    """
    return READERS[definition.images.reader](definition)
