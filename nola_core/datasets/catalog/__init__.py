"""The data sets of the papers: class names, templates, official splits, and readers for their official layouts."""

from nola_core.datasets.catalog.entry import Entry, definition_yaml, load_entry, names
from nola_core.datasets.catalog.inventory import Inventory, fetch, take_inventory
from nola_core.datasets.catalog.reader import CatalogReader

__all__ = ["CatalogReader", "Entry", "Inventory", "definition_yaml", "fetch", "load_entry", "names", "take_inventory"]
