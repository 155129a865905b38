"""Images that fit no name, and names that fit no image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nola_core.files import read_table
from nola_core.report.album import Tile
from nola_core.report.style import percent, probability, shown
from nola_core.trust import groups, proportions

LISTED = 10
"""Groups with sample images, at most."""
SHOWN = 8
"""Images of a group, and of those with the highest scores."""


@dataclass(frozen=True)
class GroupSample:
    """A group of images that look alike and fit no name.

    Attributes:
        names: the nearest names, and how many of its images they are nearest to.
        tiles: its most typical images.
    """

    title: str
    names: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Unnamed:
    """What the section says.

    Attributes:
        sentence: how many groups there are, or that there is none.
        groups: the largest, with samples.
        count: of all groups.
        absent: which names seem not to occur; empty if none.
        highest: the images with the highest unknown scores.
    """

    sentence: str
    groups: Sequence[GroupSample]
    count: int
    absent: str
    highest: list[Tile]


def read(folder: Path, names: Sequence[str]) -> Unnamed:
    """Read `folder` (`data/<dataset>`).

    Args:
        names: class names by class id.
    """
    table = read_table(folder / "unknown_groups.parquet")
    samples = []
    for row in table.head(LISTED).to_dict("records"):
        near = [f"{shown(names[one])} {percent(share, 0)}" for one, share in zip(row["class_ids"], row["shares"], strict=True)]
        tiles = [Tile(str(image_id)) for image_id in row["image_ids"][:SHOWN]]
        samples.append(GroupSample(f"Group {row['group']}: {row['images']:,} images", ", ".join(near), tiles))
    shares = read_table(folder / "class_proportions.parquet")
    absent = proportions.sentence(shares.assign(**{"class": [shown(name) for name in shares["class"]]}))
    return Unnamed(groups.sentence(table), samples, len(table), absent, _highest(folder, names))


def _highest(folder: Path, names: Sequence[str]) -> list[Tile]:
    columns = ["image_id", "score", "class_id", "probability"]
    rows = read_table(folder / "unknown.parquet", columns).nlargest(SHOWN, "score")
    return [
        Tile(str(image_id), probability(p), shown(names[one]), f"score {score:.2f}")
        for image_id, score, one, p in zip(rows["image_id"], rows["score"], rows["class_id"], rows["probability"], strict=True)
    ]


def notices(found: Unnamed) -> list[str]:
    """What belongs to the top of the page."""
    return [text for text in (found.absent, f"{found.sentence} They are shown below." if found.count else "") if text]
