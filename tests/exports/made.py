"""A finished data set with images of any name and predictions that are known, without a run."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from nola_core.datasets.manifest import CLASSES_SCHEMA, LABELS_SCHEMA, MANIFEST_SCHEMA
from nola_core.files import write_json, write_table
from nola_core.prediction import prediction_table

HOSTILE = [
    "=1+1.png",
    "deep/er/@sum.png",
    "two, \"quotes\" & 'more'.png",
    "<b>bold</b>.png",
    "\u202egnp.fox.png",
    "🦊.JPG",
    "noend",
]
"""Ids of images; `<b>bold</b>.png` lies in two folders."""
NAMES = ["cat", "=cmd|' /C calc'!A0", "con", "Cat/dog", "<b>&\"'", "\u202eowl", "🦊" * 40, ".."]
"""Class names: of a spreadsheet formula, of Windows, of a path, of HTML, right to left, 160 bytes, and the folder above."""


def finished(
    root: Path,
    *,
    ids: dict[str, str],
    names: list[str] = NAMES,
    labels: dict[str, int] | None = None,
    broken: tuple[str, ...] = (),
    files: bool = True,
) -> dict[str, np.ndarray]:
    """A project `root` with the data set `pets` and the methods zero_shot and alignment, the final one.

    Args:
        ids: image id -> split, in the order of the manifest.
        broken: ids that could not be read.
        files: write the images, too.

    Returns:
        Image id -> float32 [C], the probabilities of alignment.
    """
    folder, generator = root / "data" / "pets", torch.Generator().manual_seed(0)
    folder.mkdir(parents=True)
    (root / "photos").mkdir()
    rows = []
    for number, (image_id, split) in enumerate(ids.items()):
        data = picture(number, "JPEG" if image_id == "noend" else "PNG")
        if files and image_id not in broken:
            (root / "photos" / image_id).parent.mkdir(parents=True, exist_ok=True)
            (root / "photos" / image_id).write_bytes(data)
        good = image_id not in broken
        rows.append((image_id, image_id, "", -1, split, 4, 4, hashlib.sha256(data).hexdigest(), "", good, "" if good else "torn"))
    manifest = pd.DataFrame(rows, columns=MANIFEST_SCHEMA.names)
    write_table(folder / "manifest.parquet", manifest, MANIFEST_SCHEMA)
    classes = pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": names})
    write_table(folder / "classes.parquet", classes, CLASSES_SCHEMA)
    truth = pd.DataFrame(list((labels or {}).items()), columns=LABELS_SCHEMA.names)
    write_table(folder / "labels.parquet", truth, LABELS_SCHEMA)
    tables, answers = [], {}
    for method in ("zero_shot", "alignment"):
        for split in sorted(set(ids.values())):
            here = [image_id for image_id, own in ids.items() if own == split and image_id not in broken]
            p = (8 * torch.rand((len(here), len(names)), generator=generator)).softmax(dim=1)
            if here:
                tables.append(prediction_table(here, p, split=split, method=method))
            if method == "alignment":
                answers |= dict(zip(here, p.numpy(), strict=True))
    with pq.ParquetWriter(folder / "predictions.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    write_json(root / "data" / "inputs" / "pets.json", {"predict": {"final": "alignment"}})
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": ["pets"]}))
    definition = {
        "source": "photos",
        "images": {"reader": "folder", "holdout": 0, "labels": "none"},
        "classes": names,
        "templates": ["a photo of a {}."],
        "backbones": None,
    }
    (root / "data" / "pets.yaml").write_text(yaml.safe_dump(definition))
    return answers


def picture(number: int, kind: str = "PNG") -> bytes:
    """A picture that no other number has."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 7, 9)).save(stream, kind)
    return stream.getvalue()


def pets(root: Path, **more: object) -> dict[str, np.ndarray]:
    """All hostile images, every second one in test, and one that could not be read."""
    ids = {image_id: ("train", "test")[number % 2] for number, image_id in enumerate([*HOSTILE, "torn.png", "last.png"])}
    return finished(root, ids=ids, broken=("torn.png",), **more)  # type: ignore[arg-type]
