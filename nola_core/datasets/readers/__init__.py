"""Readers: each one lists the entries of a kind of source and returns the bytes of one entry.

A reader is a module in this package with a function `from_definition`; its module name is listed in `definition.ReaderName`. It
is imported only if a definition uses it, so that a folder of images does not need torchvision.
"""

from __future__ import annotations

from importlib import import_module

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import SPLITS, Found, Reader

__all__ = ["SPLITS", "Found", "Reader", "open_reader"]


def open_reader(definition: DatasetDefinition) -> Reader:
    """The reader for a definition.

    Raises:
        NolaError: its folder or file is missing, or has the wrong format for the reader.
    """
    reader: Reader = import_module(f"{__name__}.{definition.images.reader}").from_definition(definition)
    return reader
