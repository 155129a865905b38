"""The captions that a student reads: those of single images and of groups, by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nola_core.files import read_table


def read(path: Path, ids: Sequence[str]) -> dict[int, list[str]]:
    """The captions of some images in `captions.parquet`, by image number, in the order of the file.

    The caption of a group goes to each of its images.

    Args:
        ids: the images, in order; captions of others are left out.

    Raises:
        NolaError: the file is absent or damaged.
    """
    place, found = {image_id: row for row, image_id in enumerate(ids)}, dict[int, list[str]]()
    for image_ids, text in read_table(path, ["image_ids", "text"]).itertuples(index=False):
        for row in sorted({place[image_id] for image_id in image_ids if image_id in place}):
            if text not in found.setdefault(row, []):
                found[row].append(text)
    return found
