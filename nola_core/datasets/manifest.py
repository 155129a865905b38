"""Stage `prepare`: open, count and hash every file of a collection, and record whether it can be used."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.datasets.classes import ClassName, check_names, class_list, class_names, reading
from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.image import decode
from nola_core.datasets.listing import ahead, batched, survey
from nola_core.datasets.readers import Found, Reader, open_reader
from nola_core.device import workers
from nola_core.errors import NolaError
from nola_core.files import read_table, table_writer, write_table
from nola_core.progress import track

ROWS_AT_ONCE = 4096
REASONS_KEPT = 10

MANIFEST_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("split", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("pixels", pa.string()),
        ("ok", pa.bool_()),
        ("reason", pa.string()),
    ]
)
CLASSES_SCHEMA = pa.schema([("class_id", pa.int32()), ("name", pa.string()), ("display_name", pa.string())])
LABELS_SCHEMA = pa.schema([("image_id", pa.string()), ("class_id", pa.int32())])


@dataclass(frozen=True)
class Prepared:
    """The result of stage `prepare`. The tables are on disk (docs/formats.md) and are read from there when needed."""

    folder: Path
    images: int
    unusable: int
    trainable: int
    """Number of usable images in the split train."""
    reasons: list[tuple[str, str]]
    """Image id and reason of the first unusable images."""
    copies: int
    """Number of usable images with the same pixels as an earlier image."""
    leaked: int
    """Number of images outside train with the same pixels as a train image."""

    @property
    def manifest(self) -> pd.DataFrame:
        """Columns `MANIFEST_SCHEMA`."""
        return read_table(self.folder / "manifest.parquet")

    @property
    def classes(self) -> pd.DataFrame:
        """Columns `CLASSES_SCHEMA`."""
        return read_table(self.folder / "classes.parquet")

    @property
    def labels(self) -> pd.DataFrame:
        """Columns `LABELS_SCHEMA`."""
        return read_table(self.folder / "labels.parquet")


def prepare(
    definition: DatasetDefinition, *, max_pixels: int, folder: Path, corrections: Mapping[str, Any] | None = None
) -> Prepared:
    """Open every image of a collection and write `manifest.parquet`, `classes.parquet` and `labels.parquet` into `folder`.

    Images are decoded in threads. An unreadable image stays in the manifest with its reason and is not used by later stages.
    The source is listed twice (first for its size and the hold-out), so only a few bytes per image are kept in memory.

    Args:
        corrections: what people said of the class list, `Corrections.of_classes`. Labels of a merged class follow it.

    Raises:
        NolaError: no images, no usable train image, two images with the same id, bad class names, or a label that is not a
            class. Then nothing is written.
    """
    reader = open_reader(definition)
    listing = survey(definition, reader)
    if not len(listing):
        raise NolaError(f"{definition.source} contains no images; NoLA looks for JPEG, PNG, WebP, TIFF, BMP and GIF files.")
    classes = class_table(definition, reader, corrections)
    count = _Count()
    with (
        table_writer(folder / "manifest.parquet", MANIFEST_SCHEMA) as write,
        table_writer(folder / "labels.parquet", LABELS_SCHEMA) as write_labels,
    ):
        opened = track(
            ahead(lambda entry: (entry, _open(reader, entry, max_pixels)), reader.scan(), at_once=workers()),
            total=len(listing),
            what=f"prepare {definition.name}",
            unit="images",
        )
        label_of = _labeller(definition, classes, class_names(definition, reader), (corrections or {}).get("merges", {}))
        for part in batched(opened, ROWS_AT_ONCE):
            rows = [{**row, "split": listing.split_of(entry)} for entry, row in part]
            write(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
            labels = [(entry.image_id, label_of(entry)) for entry, _ in part]
            known = [{"image_id": image_id, "class_id": class_id} for image_id, class_id in labels if class_id is not None]
            write_labels(pa.Table.from_pylist(known, schema=LABELS_SCHEMA))
            count.add(rows)
        count.check(definition)
        write_table(folder / "classes.parquet", classes, CLASSES_SCHEMA)
    return count.result(folder)


def class_table(definition: DatasetDefinition, reader: Reader, corrections: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Class ids, names as the source spells them, and names as used in texts. Raises the same errors as `class_names`."""
    found = class_names(definition, reader)
    if corrections:
        found = check_names(class_list([entry.name for entry in found], corrections), where=f"data/{definition.name}.yaml")
    return pd.DataFrame(found, columns=["name", "display_name"]).assign(class_id=range(len(found)))[CLASSES_SCHEMA.names]


def _open(reader: Reader, entry: Found, max_pixels: int) -> dict[str, object]:
    row: dict[str, object] = {"image_id": entry.image_id, "path": entry.path, "shard": entry.shard, "row": entry.row}
    row |= {"width": 0, "height": 0, "sha256": "", "pixels": "", "ok": False, "reason": entry.problem}
    if entry.problem:
        return row
    try:
        data = reader.read(path=entry.path, shard=entry.shard, row=entry.row)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        image = decode(data, max_pixels=max_pixels)
    except OSError as error:
        return row | {"reason": f"cannot be read: {error.strerror or error}"}
    except NolaError as error:
        return row | {"reason": str(error)}
    pixels = hashlib.blake2b(image.tobytes(), digest_size=16, person=str(image.width).encode()).hexdigest()
    return row | {"width": image.width, "height": image.height, "pixels": pixels, "ok": True}


class _Count:
    """Statistics over the rows of the manifest, in nine bytes per image."""

    def __init__(self) -> None:
        self._images = 0
        self._reasons: list[tuple[str, str]] = []
        self._train_reason = ""
        self._pixels, self._train = array("Q"), array("b")

    def add(self, rows: list[dict[str, Any]]) -> None:
        self._images += len(rows)
        for row in rows:
            if row["ok"]:
                self._pixels.append(int(row["pixels"][:16], 16))
                self._train.append(row["split"] == "train")
            elif row["split"] == "train":
                self._train_reason = self._train_reason or row["reason"]
        unusable = [(row["image_id"], row["reason"]) for row in rows if not row["ok"]]
        self._reasons = (self._reasons + unusable)[:REASONS_KEPT]

    def check(self, definition: DatasetDefinition) -> None:
        if not any(self._train):
            reason = self._train_reason or "all images are held out"
            raise NolaError(
                f"{definition.source}: none of its {self._images} images can be used for training ({reason}); fix the images "
                "or images.holdout."
            )

    def result(self, folder: Path) -> Prepared:
        pixels, train = np.array(self._pixels), np.array(self._train, dtype=bool)
        return Prepared(
            folder=folder,
            images=self._images,
            unusable=self._images - len(pixels),
            trainable=int(train.sum()),
            reasons=self._reasons,
            copies=len(pixels) - len(np.unique(pixels)),
            leaked=int(np.isin(pixels[~train], pixels[train]).sum()),
        )


def _labeller(
    definition: DatasetDefinition, classes: pd.DataFrame, listed: list[ClassName], merges: Mapping[str, str]
) -> Callable[[Found], int | None]:
    """A function from an entry to its class id.

    A label is the name of a class, or reads the same (`sea_lion`, `Sea lion`, another Unicode encoding). A number is a position
    in the class list of the definition, starting at 0, unless class names are numbers.

    Args:
        listed: the classes of the definition.
        merges: class that is gone -> the class it is part of.
    """
    if definition.images.labels == "none":
        return lambda entry: None
    rows = {str(name): row for row, name in enumerate(classes["name"])}
    rows |= {name: rows[into] for name, into in merges.items()}
    read = {reading(name): row for name, row in rows.items()}
    numbered = not any(reading(one.name).isdecimal() for one in listed)
    numbers = {str(place): rows[one.name] for place, one in enumerate(listed)} if numbered else {}
    ids: dict[str, int | None] = {**numbers, **rows}

    def class_of(entry: Found) -> int | None:
        if entry.label is None:
            return None
        if entry.label not in ids:
            ids[entry.label] = read.get(reading(entry.label))
        found = ids[entry.label]
        if found is None:
            what = "the folder" if definition.images.labels == "folders" else "the label"
            raise NolaError(
                f"{definition.source}: {what} '{entry.label}' (image '{entry.image_id}') is not a class in "
                f"data/{definition.name}.yaml; rename it, add the class, or set images.labels to none."
            )
        return found

    return class_of
