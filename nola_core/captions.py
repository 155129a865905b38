"""Captions for LatteCLIP: what a multimodal model sees in an image, or in four images of one zero-shot class as a 2 x 2 grid.

They go through the same client, cache and modes as the descriptions, with `describe.model`. The student `latteclip` reads them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageOps

from nola_core.descriptions.asking.request import ImageLoader
from nola_core.descriptions.texts.prompts import Question
from nola_core.errors import NolaError
from nola_core.files import digest, read_table
from nola_core.schema import read_yaml
from nola_core.stages.paths import Paths

Kind = Literal["image", "group"]
SCHEMA = pa.schema([
    ("kind", pa.string()), ("image_ids", pa.list_(pa.string())), ("class_id", pa.int32()), ("prompt", pa.string()),
    ("text", pa.string()), ("provider", pa.string()), ("model", pa.string()),
])  # fmt: skip
GROUP = 4
SIDE = 512  # longest side of what is sent, in pixels; a grid has cells of half of it
MARGIN = 2  # white pixels around a cell of a grid


class Caption(NamedTuple):
    """One caption to be asked for."""

    image_ids: tuple[str, ...]
    class_id: int | None  # the zero-shot class of a group, None for a single image
    question: Question


def wanted(paths: Paths, kind: Kind, *, subject: str = "object", seed: int) -> list[Caption]:
    """The captions of the train images of a data set; groups need its zero-shot predictions."""
    manifest = read_table(paths["manifest.parquet"])
    images = manifest[manifest["ok"] & (manifest["split"] == "train")]
    if kind == "image":
        return image_captions(images, subject=subject)
    table = read_table(paths["zero_shot.parquet"], columns=["image_id", "method", "class_id"])
    classes = read_table(paths["classes.parquet"])
    made = table["method"].unique()  # `methods` may leave zero_shot out; the others of this table are text classifiers as well
    mine = table[table["method"] == ("zero_shot" if "zero_shot" in made else made[0])]
    return group_captions(images, mine, classes, subject=subject, seed=seed)


def image_captions(images: pd.DataFrame, *, subject: str = "object") -> list[Caption]:
    """One caption an image (`image_id, sha256`); `subject` is what they show, in words that follow `the`."""
    ask = _asker("image", subject)
    return [Caption((image_id,), None, ask("", sha256)) for image_id, sha256 in images[["image_id", "sha256"]].to_numpy()]


def group_captions(
    images: pd.DataFrame, predictions: pd.DataFrame, classes: pd.DataFrame, *, subject: str = "object", seed: int
) -> list[Caption]:
    """One caption for each four images of the same zero-shot class; every image of a class of at least four is in a group.

    The images (`image_id, sha256`) of a class are shuffled by `seed` and cut into fours; the last group is filled up with
    images drawn again. `predictions` are the zero-shot ones (`image_id, class_id`); classes: `class_id, name`.
    """
    names, ask = dict(zip(classes["class_id"], classes["name"], strict=True)), _asker("group", subject)
    known = images.merge(predictions[["image_id", "class_id"]], on="image_id").sort_values("image_id", kind="stable")
    made = []
    for class_id, mine in known.groupby(known["class_id"].astype(int)):
        if len(mine) < GROUP:
            continue
        generator = np.random.default_rng([seed, class_id])
        order = generator.permutation(len(mine))
        if rest := len(order) % GROUP:
            order = np.concatenate([order, generator.choice(order[:-rest], GROUP - rest, replace=False)])
        for cells in order.reshape(-1, GROUP):
            four = mine.iloc[cells]
            grid = digest({"grid": four["sha256"].tolist(), "side": SIDE})
            made.append(Caption(tuple(four["image_id"]), class_id, ask(str(names[class_id]), grid)))
    return made


def image_loader(captions: Sequence[Caption], open_image: Callable[[str], Image.Image]) -> ImageLoader:
    """A loader that makes the JPEG of a caption's picture when it is sent, so that only the ids are in memory."""
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


def caption_table(captions: Sequence[Caption], answers: pd.DataFrame) -> pd.DataFrame:
    """The captions that `collect` has answers for, in order; columns of `SCHEMA`."""
    table = pd.DataFrame(captions, columns=Caption._fields).merge(answers, on="question")
    return table.assign(
        kind=["image" if len(ids) == 1 else "group" for ids in table["image_ids"]],
        text=table["text"].str.split().str.join(" "),
        model=table["returned_model"].replace("", None).fillna(table["model"]),
        class_id=table["class_id"].astype("Int32"),
    )[SCHEMA.names]


def _asker(kind: Kind, subject: str) -> Callable[[str, str], Question]:
    """(class name, hash of what is shown) -> the question.

    Images are known by their own hashes, not by the JPEG made of them, which may differ from one Pillow to the next.
    """
    if not subject.strip():
        raise NolaError("the subject of captions must be words that follow 'the', such as object.")
    wording = read_yaml(Path(__file__).parent / "captions.yaml")
    prompt, version = wording[kind].replace("{}", subject), f"captions-{kind}/{wording['version']}"
    return lambda class_name, sha256: Question(class_name, prompt, version, 1, "plain", (f"sha256:{sha256}",))
