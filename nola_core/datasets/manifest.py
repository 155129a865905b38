"""Stage `prepare`: every file of a collection opened once, counted, hashed, and recorded whether it can be used or not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from PIL import Image

from nola_core.config import load
from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.datasets.image import decode
from nola_core.datasets.names import display_name
from nola_core.datasets.readers import Found, Reader, open_reader
from nola_core.device import workers
from nola_core.errors import NolaError
from nola_core.files import read_table
from nola_core.progress import track

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
        ("ok", pa.bool_()),
        ("reason", pa.string()),
    ]
)
CLASSES_SCHEMA = pa.schema([("class_id", pa.int32()), ("name", pa.string()), ("display_name", pa.string())])
LABELS_SCHEMA = pa.schema([("image_id", pa.string()), ("class_id", pa.int32())])


@dataclass(frozen=True)
class Prepared:
    """The three tables of stage `prepare`; see docs/formats.md for their columns."""

    manifest: pd.DataFrame
    classes: pd.DataFrame
    labels: pd.DataFrame


def prepare(definition: DatasetDefinition, *, max_pixels: int) -> Prepared:
    """Open every image of a collection and list it.

    Images are decoded in threads; an unreadable one stays in the manifest with its reason and is used by no later stage.

    Raises:
        NolaError: no images, no readable train image, bad class names, or fewer train images than classes.
    """
    reader = open_reader(definition)
    found = list(reader.scan())
    if not found:
        raise NolaError(f"{definition.source} holds no image: NoLA looks for JPEG, PNG, WebP, TIFF, BMP and GIF files in it.")
    classes = class_table(definition, reader)
    splits = _splits(definition, found)
    with ThreadPoolExecutor(workers()) as pool:
        opened = pool.map(lambda entry: _open(reader, entry, max_pixels), found)
        rows = list(track(opened, total=len(found), what=f"prepare {definition.name}", unit="images"))
    manifest = pd.DataFrame([{**row, "split": split} for row, split in zip(rows, splits, strict=True)])
    usable = int(((manifest["split"] == "train") & manifest["ok"]).sum())
    if usable == 0:
        reasons = manifest.loc[~manifest["ok"] & (manifest["split"] == "train"), "reason"].tolist()
        reason = reasons[0] if reasons else "all images are held out"
        raise NolaError(f"{definition.source}: none of its {len(found)} images can be used for training ({reason}).")
    if usable < len(classes):
        raise NolaError(
            f"{definition.source}: {usable} readable train images for {len(classes)} classes; NoLA needs at least one a class, "
            "so add images or shorten the class list."
        )
    return Prepared(manifest, classes, _labels(definition, found, classes))


def class_table(definition: DatasetDefinition, reader: Reader) -> pd.DataFrame:
    """Class ids, names as the source spells them and names as they go into texts.

    Raises:
        NolaError: fewer than two classes, a class without a name, or two classes of the same name.
    """
    where = f"data/{definition.name}.yaml"
    if isinstance(definition.classes, list):
        names = definition.classes
    elif definition.classes == "folders":
        names = reader.class_names()
    else:
        where = definition.classes
        try:
            names = Path(definition.classes).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise NolaError(f"data/{definition.name}.yaml: the class list {where} cannot be read ({reason}).") from None
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise NolaError(f"{where}: class {position} of {len(names)} has no name.")
    displayed = [display_name(name) for name in names]
    for name, count in Counter(text.casefold() for text in displayed).items():
        if count > 1:
            same = [f"'{raw}' (class {i})" for i, raw in enumerate(names, 1) if display_name(raw).casefold() == name]
            raise NolaError(f"{where}: duplicate class names {' and '.join(same)}; every class needs a name of its own.")
    if len(names) < 2:
        raise NolaError(f"{where}: {len(names)} class names; a classifier needs at least two.")
    return pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": displayed})


def image_opener(root: Path, dataset: str) -> Callable[[str], Image.Image]:
    """A function from image id to the RGB image, by way of the manifest.

    The function raises NolaError when an image is unknown, unusable, or not the one any more that the manifest recorded:
    features are cached by the recorded hash.
    """
    definition = load_definition(root, dataset)
    reader = open_reader(definition)
    max_pixels = load(root).prepare.max_pixels
    manifest = read_table(root / "data" / dataset / "manifest.parquet").set_index("image_id")
    again = f"restore it, or run `python -m nola_core.stages prepare --dataset {dataset}` and what follows again."

    def open_image(image_id: str) -> Image.Image:
        if image_id not in manifest.index:
            raise NolaError(f"data set '{dataset}' has no image '{image_id}'.")
        row = manifest.loc[image_id]
        if not row["ok"]:
            raise NolaError(f"image '{image_id}' of {definition.source} cannot be used: {row['reason']}.")
        try:
            data = reader.read(path=str(row["path"]), shard=str(row["shard"]), row=int(str(row["row"])))
        except OSError as error:
            reason = error.strerror or str(error)
            raise NolaError(f"image '{image_id}' of {definition.source} cannot be read ({reason}); {again}") from None
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise NolaError(f"image '{image_id}' of {definition.source} has changed since it was listed; {again}")
        return decode(data, max_pixels=max_pixels)

    return open_image


def _open(reader: Reader, entry: Found, max_pixels: int) -> dict[str, object]:
    row: dict[str, object] = {"image_id": entry.image_id, "path": entry.path, "shard": entry.shard, "row": entry.row}
    row |= {"width": 0, "height": 0, "sha256": "", "ok": False, "reason": ""}
    try:
        data = reader.read(path=entry.path, shard=entry.shard, row=entry.row)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        image = decode(data, max_pixels=max_pixels)
    except OSError as error:
        return row | {"reason": f"cannot be read: {error.strerror or error}"}
    except NolaError as error:
        return row | {"reason": str(error)}
    return row | {"width": image.width, "height": image.height, "ok": True}


def _splits(definition: DatasetDefinition, found: list[Found]) -> list[str]:
    """The source's own split, or a hold-out by hash: stable when the collection grows, and blind to labels."""
    if all(entry.split is not None for entry in found):
        return [str(entry.split) for entry in found]
    digests = [hashlib.sha256(f"{definition.name}/{entry.image_id}".encode()).hexdigest() for entry in found]
    holdout = definition.images.holdout
    if holdout >= 1:
        held = set(sorted(digests)[-int(holdout) :])
        return ["test" if digest in held else "train" for digest in digests]
    return ["test" if int(digest[:16], 16) >= (1 - holdout) * 2**64 else "train" for digest in digests]


def _labels(definition: DatasetDefinition, found: list[Found], classes: pd.DataFrame) -> pd.DataFrame:
    if definition.images.labels == "none":
        return pd.DataFrame({"image_id": pd.Series(dtype=str), "class_id": pd.Series(dtype="int32")})
    ids = {name: int(class_id) for name, class_id in zip(classes["name"], classes["class_id"], strict=True)}
    rows = [(entry.image_id, ids[entry.label]) for entry in found if entry.label in ids]
    unknown = sorted({entry.label for entry in found if entry.label is not None and entry.label not in ids})
    if unknown:
        raise NolaError(
            f"{definition.source}: the folders {', '.join(unknown[:5])} name no class of data/{definition.name}.yaml; "
            "rename them, add the classes, or set images.labels to none."
        )
    return pd.DataFrame(rows, columns=["image_id", "class_id"])
