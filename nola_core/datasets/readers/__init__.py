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
from nola_core.datasets.readers.huggingface import open_huggingface
from nola_core.datasets.readers.reader import SPLITS, Found, Reader
from nola_core.datasets.readers.table import single_table
from nola_core.datasets.readers.torchvision import TorchvisionReader
from nola_core.datasets.readers.webdataset import WebDatasetReader

__all__ = ["READERS", "SPLITS", "Found", "Reader", "open_reader"]

READERS: Mapping[ReaderName, Callable[[DatasetDefinition], Reader]] = {
    "folder": lambda definition: FolderReader(Path(definition.source)),
    "table": lambda definition: single_table(
        Path(definition.source), definition.images.table, splits=definition.images.splits, **_columns(definition)
    ),
    "webdataset": lambda definition: WebDatasetReader(
        Path(definition.source),
        shards=definition.images.shards,
        splits=definition.images.splits,
        labels=definition.images.labels != "none",
    ),
    "huggingface": lambda definition: open_huggingface(
        Path(definition.source), splits=definition.images.splits, **_columns(definition)
    ),
    "torchvision": lambda definition: TorchvisionReader(
        Path(definition.source), str(definition.images.dataset), splits=definition.images.splits
    ),
    "catalog": lambda definition: CatalogReader(load_entry(str(definition.images.dataset)), Path(definition.source)),
    "digits": lambda definition: DigitsReader(),
}


def _columns(definition: DatasetDefinition) -> dict[str, str | None]:
    images = definition.images
    return {
        "image_column": images.image_column,
        "label_column": images.label_column,
        "split_column": images.split_column,
    }


def open_reader(definition: DatasetDefinition) -> Reader:
    """The reader a definition asks for.

    Raises:
        NolaError: its folder or file is absent or not what the reader reads.
    """
    return READERS[definition.images.reader](definition)
