"""Count the images of a known data set in a folder, and download missing data sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nola_core.datasets.catalog.entry import Entry
from nola_core.datasets.catalog.reader import CatalogReader
from nola_core.errors import NolaError


@dataclass(frozen=True)
class Inventory:
    """The images in a folder compared with the official counts."""

    source: Path
    """The folder in which the layout was found."""
    layout: str
    official: dict[str, int]
    """Images of each split of the complete data set; `all` if the layout has no split."""
    present: dict[str, int]
    absent: list[str]
    """Images that a split list names but that do not exist."""

    @property
    def complete(self) -> bool:
        """Whether every split has the official number of images."""
        return not self.absent and self.present == self.official


def take_inventory(entry: Entry, root: Path) -> Inventory:
    """Count the images of every split.

    Raises:
        NolaError: no layout is complete, or one of the split lists is damaged.
    """
    reader = CatalogReader(entry, root)
    present: Counter[str] = Counter()
    absent = []
    for found in reader.scan():
        if found.path and not (reader.base / found.path).exists():
            absent.append(found.path)
        else:
            present[found.split or "all"] += 1
    official = {str(split): count for split, count in reader.layout.counts.items()}
    kind = {"coop": "CoOp's split", "folders": "class folders"}.get(reader.layout.kind, "official split")
    return Inventory(reader.base, kind, official, {split: present[split] for split in official}, absent)


def fetch(entry: Entry, root: Path) -> None:
    """Download a data set into `root` with torchvision, which checks the archives; ImageNet is only unpacked.

    Raises:
        NolaError: torchvision cannot do it; the message explains how to do it by hand.
    """
    if entry.torchvision is None:
        raise NolaError(f"{entry.title} cannot be downloaded automatically. By hand: {entry.homepage} {entry.instruction}")
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, entry.torchvision)
    root.mkdir(parents=True, exist_ok=True)
    try:
        if entry.torchvision == "ImageNet":
            for split in ("train", "val"):
                dataset(str(root), split=split)
        else:
            dataset(str(root), download=True)
    except Exception as error:  # torchvision and the network behind it raise many kinds
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        by_hand = f"By hand: {entry.homepage} {entry.instruction}"
        raise NolaError(f"torchvision could not prepare {entry.title} ({reason}). {by_hand}") from error
