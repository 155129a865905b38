"""Captions for LatteCLIP: what a multimodal model sees in an image, or in four images of one zero-shot class as a 2 x 2 grid.

    python -m nola_core.descriptions caption --dataset pets --kind group --subject pet --plan

They go through the same client, cache and modes as the descriptions, with `describe.model`. No stage reads them by default.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageOps

from nola_core.config import Describe, load, read_yaml
from nola_core.descriptions import commands, llm
from nola_core.descriptions.question import Question
from nola_core.descriptions.request import ImageLoader, requests
from nola_core.descriptions.responses import Responses
from nola_core.errors import NolaError
from nola_core.files import digest, read_table, write_table
from nola_core.stages.paths import Paths

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("image_ids", pa.list_(pa.string())),
        ("class_id", pa.int32()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
    ]
)
GROUP = 4
SIDE = 512
"""Longest side of what is sent, in pixels; a grid has cells of half of it."""
MARGIN = 2
"""White pixels around a cell of a grid."""


@dataclass(frozen=True)
class Caption:
    """One caption to be asked for."""

    image_ids: tuple[str, ...]
    class_id: int | None
    """The zero-shot class of a group, None for a single image."""
    question: Question


def image_captions(images: pd.DataFrame, *, subject: str = "object") -> list[Caption]:
    """One caption an image.

    Args:
        images: `image_id, sha256`.
        subject: what the images show, in words that follow `the`.
    """
    return [
        Caption((image_id,), None, _question("image", subject, "", [sha256]))
        for image_id, sha256 in zip(images["image_id"], images["sha256"], strict=True)
    ]


def group_captions(
    images: pd.DataFrame, predictions: pd.DataFrame, classes: pd.DataFrame, *, subject: str = "object", seed: int
) -> list[Caption]:
    """One caption for each four images of the same zero-shot class; every image of a class of at least four is in a group.

    The images of a class are shuffled and cut into fours; the last group is filled up with images drawn again.

    Args:
        images: `image_id, sha256`.
        predictions: `image_id, class_id`, the zero-shot answers.
        classes: `class_id, name`.
        subject: what the images show, in words that follow `the`.
        seed: of the shuffling.
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
    cell = SIDE // 2
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    for number, image in enumerate(images):
        fitted = ImageOps.contain(image, (cell - 2 * MARGIN, cell - 2 * MARGIN), Image.Resampling.BICUBIC)
        left, top = (number % 2) * cell, (number // 2) * cell
        sheet.paste(fitted, (left + (cell - fitted.width) // 2, top + (cell - fitted.height) // 2))
    return sheet


def caption_table(captions: Sequence[Caption], answers: pd.DataFrame, settings: Describe) -> pd.DataFrame:
    """The captions there are, in order: `kind, image_ids, class_id, prompt, text, provider, model`."""
    kept: dict[str, dict[Any, Any]] = {row["key"]: row for row in answers.to_dict("records")}
    wanted = requests([caption.question for caption in captions], llm.sampling_of(settings))
    keys = {request.question: request.key for request in wanted}
    rows = [
        {
            "kind": "image" if len(caption.image_ids) == 1 else "group",
            "image_ids": list(caption.image_ids),
            "class_id": caption.class_id,
            "prompt": caption.question.prompt,
            "text": " ".join(row["text"].split()),
            "provider": row["provider"],
            "model": row["returned_model"] or row["model"],
        }
        for caption in captions
        if (row := kept.get(keys.get(caption.question, ""))) is not None
    ]
    return pd.DataFrame(rows, columns=SCHEMA.names).astype({"class_id": "Int32"})


def main(argv: list[str]) -> int:
    """Caption the train images of a data set and write captions.parquet."""
    from nola_core.datasets.opener import image_opener

    parser = commands.command("caption", str(main.__doc__))
    parser.add_argument("--kind", choices=["image", "group"], required=True)
    parser.add_argument("--subject", default="object", help="what the images show, e.g. texture (default: object)")
    parser.add_argument("--limit", type=int, help="at most so many captions")
    parser.add_argument("--plan", action="store_true", help="say what would be asked and what it would cost, and stop")
    arguments = parser.parse_args(argv)
    settings = load(arguments.root)
    paths = Paths(arguments.root, arguments.dataset)
    manifest = read_table(paths["manifest.parquet"])
    images = manifest[manifest["ok"] & (manifest["split"] == "train")]
    kind: Literal["image", "group"] = arguments.kind
    if kind == "image":
        captions = image_captions(images, subject=arguments.subject)
    else:
        table = read_table(paths["zero_shot.parquet"], columns=["image_id", "method", "class_id"])
        classes = read_table(paths["classes.parquet"])
        zero_shot = table[table["method"] == "zero_shot"]
        captions = group_captions(images, zero_shot, classes, subject=arguments.subject, seed=settings.seed)
    captions = captions[: arguments.limit]
    questions = [caption.question for caption in captions]
    responses = Responses(paths["caption_responses"])
    if arguments.plan:
        print("\n".join(llm.plan(questions, settings.describe, responses).lines(settings.describe)))
        return 0
    answers = llm.collect(
        questions,
        settings.describe,
        responses,
        endpoint=None if settings.describe.mode == "replay" else commands.endpoint(),
        load_image=image_loader(captions, image_opener(paths.root, paths.dataset)),
    )
    made = caption_table(captions, answers, settings.describe)
    old = read_table(paths["captions.parquet"]) if paths["captions.parquet"].exists() else made.iloc[:0]
    write_table(paths["captions.parquet"], pd.concat([old[old["kind"] != kind], made], ignore_index=True), SCHEMA)
    print(f"{len(made):,} captions of kind {kind} in {paths['captions.parquet']}")
    return 0


def _question(kind: Literal["image", "group"], subject: str, class_name: str, sha256s: Sequence[str]) -> Question:
    """The images are known by their own hashes, not by the JPEG made of them, which may differ from one Pillow to the next."""
    if not subject.strip():
        raise NolaError("the subject of captions must be words that follow 'the', such as object.")
    wording = _wording()
    identity = sha256s[0] if len(sha256s) == 1 else digest({"grid": list(sha256s), "side": SIDE})
    return Question(
        class_name=class_name,
        prompt=wording[kind].replace("{}", subject),
        prompt_version=f"captions-{kind}/{wording['version']}",
        samples=1,
        form="plain",
        images=(f"sha256:{identity}",),
    )


@lru_cache(maxsize=1)
def _wording() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("captions.yaml"))
