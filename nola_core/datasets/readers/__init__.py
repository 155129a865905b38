"""Where images come from: each reader lists what it finds and gives the bytes of one entry.

A reader is a module here with a function `from_definition`, and a name in `definition.ReaderName`, which is the module's. It is
imported when a definition asks for it, so that a folder of images needs no torchvision.
"""

from __future__ import annotations

from importlib import import_module

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import SPLITS, Found, Reader

__all__ = ["SPLITS", "Found", "Reader", "open_reader"]


def open_reader(definition: DatasetDefinition) -> Reader:
    """The reader a definition asks for.

    Raises:
        NolaError: its folder or file is absent or not what the reader reads.
    """
    reader: Reader = import_module(f"{__name__}.{definition.images.reader}").from_definition(definition)
    return reader
