"""Reader `catalog`: a known data set in its official layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nola_core.datasets.catalog.entry import Entry
from nola_core.datasets.catalog.layouts import Layout, Lists
from nola_core.datasets.readers.reader import Found
from nola_core.errors import NolaError


class CatalogReader:
    """The images of a known data set, wherever below `root` its official files lie."""

    def __init__(self, entry: Entry, root: Path) -> None:
        """Find the layout.

        Raises:
            NolaError: no layout is complete; every missing file is named.
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
    """The first layout that is complete, and the folder it starts at: `root` or one of `entry.below`.

    Raises:
        NolaError: there is none; what each one lacks is named.
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
            break  # half of a split must not pass for a folder without one
    raise NolaError(f"{root} is not {entry.title} as it is distributed. Missing: {'; or '.join(lacking)}. {entry.instruction}")
