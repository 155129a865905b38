"""Images that fit no name, and names that fit no image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from nola_core.files import read_table
from nola_core.report.contact_sheet import contact_sheet, save_sheet
from nola_core.report.style import NEUTRAL, percent
from nola_core.trust import groups, proportions

LISTED = 10
"""Groups with sample images, at most."""
COLUMNS = 8


@dataclass(frozen=True)
class GroupSample:
    """A group of images that look alike and fit no name.

    Attributes:
        names: the nearest names, and how many of its images they are nearest to.
        file: contact sheet of its most typical images.
    """

    title: str
    names: str
    file: Path


@dataclass(frozen=True)
class Unnamed:
    """What the section says.

    Attributes:
        sentence: how many groups there are, or that there is none.
        groups: the largest, with samples.
        count: of all groups.
        absent: which names seem not to occur; empty if none.
        highest: contact sheet of the images with the highest unknown scores; None without an image.
    """

    sentence: str
    groups: Sequence[GroupSample]
    count: int
    absent: str
    highest: Path | None


def draw(folder: Path, names: Sequence[str], image_of: Callable[[str], Image.Image], pictures: Path) -> Unnamed:
    """Read `folder` (`data/<dataset>`) and write the sheets, `unnamed-*.png`, into `pictures`.

    Args:
        names: class names by class id.
        image_of: image id -> image.
    """
    table = read_table(folder / "unknown_groups.parquet")
    samples = []
    for row in table.head(LISTED).to_dict("records"):
        file = pictures / f"unnamed-{row['group']:04d}.png"
        ids = [str(image_id) for image_id in row["image_ids"][:COLUMNS]]
        save_sheet(contact_sheet([image_of(image_id) for image_id in ids], ids, [NEUTRAL] * len(ids), COLUMNS), file)
        near = [f"{names[one]} {percent(share, 0)}" for one, share in zip(row["class_ids"], row["shares"], strict=True)]
        samples.append(GroupSample(f"Group {row['group']}: {row['images']:,} images", ", ".join(near), file))
    absent = proportions.sentence(read_table(folder / "class_proportions.parquet"))
    return Unnamed(groups.sentence(table), samples, len(table), absent, _highest(folder, names, image_of, pictures))


def _highest(folder: Path, names: Sequence[str], image_of: Callable[[str], Image.Image], pictures: Path) -> Path | None:
    columns = ["image_id", "score", "class_id", "probability"]
    rows = read_table(folder / "unknown.parquet", columns).nlargest(COLUMNS, "score")
    if rows.empty:
        return None
    captions = [
        f"{score:.2f}\n{names[one]} {percent(p, 0)}"
        for score, one, p in zip(rows["score"], rows["class_id"], rows["probability"], strict=True)
    ]
    file = pictures / "unnamed-highest.png"
    save_sheet(contact_sheet([image_of(str(one)) for one in rows["image_id"]], captions, [NEUTRAL] * len(rows), COLUMNS), file)
    return file


def notices(found: Unnamed) -> list[str]:
    """What belongs to the top of the page."""
    return [text for text in (found.absent, f"{found.sentence} They are shown below." if found.count else "") if text]
