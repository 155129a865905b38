"""Data sets of the papers in their official layouts, read with `nola_core.datasets.catalog`."""

from __future__ import annotations

from pathlib import Path

from nola_core.datasets.catalog.entry import load_entry
from nola_core.datasets.catalog.reader import CatalogReader
from nola_core.datasets.definition import DatasetDefinition


def from_definition(definition: DatasetDefinition) -> CatalogReader:
    """The reader for a definition; see `CatalogReader`."""
    return CatalogReader(load_entry(str(definition.images.dataset)), Path(definition.source))
