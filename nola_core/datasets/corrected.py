"""The corrections in force for a data set, held against its class names and images; no image is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nola_core import corrections
from nola_core.datasets.classes import class_names
from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.listing import survey
from nola_core.datasets.readers import open_reader


@dataclass(frozen=True)
class Corrected:
    """What the stages need of them.

    Attributes:
        counts: how many of each kind, `corrections.sentence` says it.
        classes: `Corrections.of_classes`.
        images: image id -> its class, None for none of them; by image id.
        train: those of the split train alone, which methods learn from.
    """

    counts: Mapping[str, int]
    classes: Mapping[str, Any]
    images: Mapping[str, str | None]
    train: Mapping[str, str | None]


def resolve(root: Path, definition: DatasetDefinition) -> Corrected | None:
    """The corrections of a data set; None where there are none.

    Raises:
        NolaError: the table is wrong, or does not fit the classes and images of the definition.
        OSError: the images cannot be listed.
    """
    found = corrections.read(root, definition.name)
    if not found:
        return None
    reader = open_reader(definition)
    names = [entry.name for entry in class_names(definition, reader)]
    found.check(names, (entry.image_id for entry in reader.scan()))
    images = dict(sorted(found.images.items()))
    train: dict[str, str | None] = {}
    if images:
        splits = survey(definition, reader)
        train = {
            entry.image_id: images[entry.image_id]
            for entry in reader.scan()
            if entry.image_id in images and splits.split_of(entry) == "train"
        }
    return Corrected(found.counts, found.of_classes, images, dict(sorted(train.items())))
