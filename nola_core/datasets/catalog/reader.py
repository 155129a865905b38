"""Reader `catalog`: a known data set in its official layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nola_core.datasets.catalog.entry import Entry
from nola_core.datasets.catalog.layouts import Layout, Lists
from nola_core.datasets.readers.reader import Found
from nola_core.errors import NolaError


class CatalogReader:
    """The images of a known data set; its official files may be in a subfolder of `root`."""

    def __init__(self, entry: Entry, root: Path) -> None:
        """Find the layout.

        Raises:
            NolaError: no layout is complete; the message lists all missing files.
        """
        self.entry = entry
        self.layout, self.base = find_layout(entry, root)

    def scan(self) -> Iterator[Found]:
        return self.layout.scan(self.base, self.entry.classes)

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        return self.layout.read(self.base, path=path, shard=shard, row=row)

    def class_names(self) -> list[str]:
        return self.entry.names


def find_layout(entry: Entry, root: Path) -> tuple[Layout, Path]:
    """The first complete layout, and its base folder: `root` or one of `entry.below`.

    Raises:
        NolaError: no layout is complete; the message lists what each one is missing.
    """
    if not root.is_dir():
        raise NolaError(f"the image folder {root} does not exist.")
    bases = [base for base in (root, *(root / name for name in entry.below)) if base.is_dir()]
    lacking = []
    for layout in entry.layouts:
        missing = {base: layout.missing(base) for base in bases}
        nearest = min(bases, key=lambda base: len(missing[base]))
        if not missing[nearest]:
            return layout, nearest
        lacking.append(f"{', '.join(missing[nearest])} in {nearest}")
        if isinstance(layout, Lists) and any((nearest / name).exists() for name in layout.files.values()):
            break  # an incomplete split must not count as a folder without a split
    raise NolaError(
        f"{root} does not contain {entry.title} in its official layout. Missing: {'; or '.join(lacking)}. {entry.instruction}"
    )
