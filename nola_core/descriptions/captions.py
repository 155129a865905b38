"""Captions for LatteCLIP: what a multimodal model sees in an image, or in four images of one zero-shot class as a 2 x 2 grid.

They go through the same client, cache and modes as the descriptions, with `describe.model`. No stage reads them by default.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageOps

from nola_core.config import Describe, read_yaml
from nola_core.descriptions.request import ImageLoader, Question, Sampling, requests
from nola_core.errors import NolaError
from nola_core.files import digest, read_table
from nola_core.stages.paths import Paths

Kind = Literal["image", "group"]
SCHEMA = pa.schema([
    ("kind", pa.string()), ("image_ids", pa.list_(pa.string())), ("class_id", pa.int32()), ("prompt", pa.string()),
    ("text", pa.string()), ("provider", pa.string()), ("model", pa.string()),
])  # fmt: skip
GROUP = 4
SIDE = 512  # longest side of what is sent, in pixels; a grid has cells of half of it
MARGIN = 2  # white pixels around a cell of a grid


@dataclass(frozen=True)
class Caption:
    """One caption to be asked for."""

    image_ids: tuple[str, ...]
    class_id: int | None  # the zero-shot class of a group, None for a single image
    question: Question


def wanted(paths: Paths, kind: Kind, *, subject: str = "object", seed: int) -> list[Caption]:
    """The captions of the train images of a data set; groups need its zero-shot answers."""
    manifest = read_table(paths["manifest.parquet"])
    images = manifest[manifest["ok"] & (manifest["split"] == "train")]
    if kind == "image":
        return image_captions(images, subject=subject)
    table = read_table(paths["zero_shot.parquet"], columns=["image_id", "method", "class_id"])
    classes = read_table(paths["classes.parquet"])
    return group_captions(images, table[table["method"] == "zero_shot"], classes, subject=subject, seed=seed)


def image_captions(images: pd.DataFrame, *, subject: str = "object") -> list[Caption]:
    """One caption an image (`image_id, sha256`); `subject` is what they show, in words that follow `the`."""
    return [
        Caption((image_id,), None, _question("image", subject, "", [sha256]))
        for image_id, sha256 in zip(images["image_id"], images["sha256"], strict=True)
    ]


def group_captions(
    images: pd.DataFrame, predictions: pd.DataFrame, classes: pd.DataFrame, *, subject: str = "object", seed: int
) -> list[Caption]:
    """One caption for each four images of the same zero-shot class; every image of a class of at least four is in a group.

    The images (`image_id, sha256`) of a class are shuffled by `seed` and cut into fours; the last group is filled up with
    images drawn again. `predictions` are the zero-shot answers (`image_id, class_id`); classes: `class_id, name`.
    """
    names = dict(zip(classes["class_id"], classes["name"], strict=True))
    known = images.merge(predictions[["image_id", "class_id"]], on="image_id").sort_values("image_id", kind="stable")
    made = []
    for class_id, mine in known.groupby("class_id", sort=True):
        if len(mine) < GROUP:
            continue
        generator = np.random.default_rng([seed, int(str(class_id))])
        order = generator.permutation(len(mine))
        if rest := len(order) % GROUP:
            order = np.concatenate([order, generator.choice(order[:-rest], GROUP - rest, replace=False)])
        for cells in order.reshape(-1, GROUP):
            four = mine.iloc[cells]
            question = _question("group", subject, str(names[class_id]), four["sha256"].tolist())
            made.append(Caption(tuple(four["image_id"]), int(str(class_id)), question))
    return made


def image_loader(captions: Sequence[Caption], open_image: Callable[[str], Image.Image]) -> ImageLoader:
    """A loader that makes the JPEG of a caption's picture when it is sent: nothing but the ids is held."""
    ids = {image: caption.image_ids for caption in captions for image in caption.question.images}

    def load_image(image: str) -> bytes:
        opened = [open_image(image_id) for image_id in ids[image]]
        picture = opened[0].copy() if len(opened) == 1 else grid(opened)
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        picture.save(stream, format="JPEG", quality=90)
        return stream.getvalue()

    return load_image


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """Four images as a square of two rows, each scaled to fit its cell, white around it."""
    sheet, cell = Image.new("RGB", (SIDE, SIDE), "white"), SIDE // 2
    for number, image in enumerate(images):
        fitted = ImageOps.pad(image, (cell - 2 * MARGIN, cell - 2 * MARGIN), Image.Resampling.BICUBIC, color="white")
        sheet.paste(fitted, (number % 2 * cell + MARGIN, number // 2 * cell + MARGIN))
    return sheet


def caption_table(captions: Sequence[Caption], answers: pd.DataFrame, settings: Describe) -> pd.DataFrame:
    """The captions there are, in order; columns of `SCHEMA`."""
    kept: dict[str, dict[Any, Any]] = {row["key"]: row for row in answers.to_dict("records")}
    asked = requests([caption.question for caption in captions], Sampling.of(settings))
    keys = {request.question: request.key for request in asked}
    rows = []
    for caption in captions:
        if row := kept.get(keys.get(caption.question, "")):
            kind, text = "image" if len(caption.image_ids) == 1 else "group", " ".join(row["text"].split())
            asked_of = (row["provider"], row["returned_model"] or row["model"])
            rows.append((kind, list(caption.image_ids), caption.class_id, caption.question.prompt, text, *asked_of))
    return pd.DataFrame(rows, columns=SCHEMA.names).astype({"class_id": "Int32"})


def _question(kind: Kind, subject: str, class_name: str, sha256s: Sequence[str]) -> Question:
    """The images are known by their own hashes, not by the JPEG made of them, which may differ from one Pillow to the next."""
    if not subject.strip():
        raise NolaError("the subject of captions must be words that follow 'the', such as object.")
    wording = _wording()
    identity = sha256s[0] if len(sha256s) == 1 else digest({"grid": list(sha256s), "side": SIDE})
    version = f"captions-{kind}/{wording['version']}"
    return Question(class_name, wording[kind].replace("{}", subject), version, 1, "plain", (f"sha256:{identity}",))


@cache
def _wording() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("captions.yaml"))
