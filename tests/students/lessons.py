"""A tiny collection that a student can learn: dark, reddish and bright images of three classes, and a teacher that knows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nola_core import text_classifier
from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.methods.collection import Space, Texts
from nola_core.students.images import Images
from nola_core.students.lesson import Lesson, TopClasses
from tests.tiny import write_clip

NAMES = ["night", "rose", "snow"]
SHADES = ((30, 30, 30), (200, 60, 60), (230, 230, 230))
COUNT = 24
CPU = torch.device("cpu")


def new_clip(folder: Path) -> Clip:
    """The same tiny CLIP at every call; a student changes its own."""
    if not (folder / "clip").exists():
        write_clip(folder / "clip")
    return load_clip(ClipSpec(model="local-dir:clip"), root=folder)


def labels() -> Tensor:
    """The true classes, which no student is given."""
    return torch.arange(COUNT) % len(NAMES)


def lesson(clip: Clip, *, right: float = 1.0, confidence: float = 0.8) -> Lesson:
    """What a student learns from.

    Args:
        right: share of images whose teacher is right; the first ones. The others get the next class.
        confidence: of the teacher.
    """
    rng = np.random.default_rng(0)
    truth = labels()
    pixels = [np.clip(np.array(SHADES[c]) + rng.integers(-25, 25, (18, 22, 3)), 0, 255).astype(np.uint8) for c in truth.tolist()]
    opened = {f"i{row}": Image.fromarray(value) for row, value in enumerate(pixels)}
    images = Images(list(opened), opened.__getitem__, (16, 16), (0.5,) * 3, (0.5,) * 3, clip.image.preprocess)
    wrong = torch.arange(COUNT) >= right * COUNT
    answers = (truth + wrong.long()) % len(NAMES)
    patterns = ["a photo of a {}.", "a painting of a {}."]
    descriptions = [["It is dark.", "A sky without light."], ["It is red.", "A flower."], ["It is white.", "A cold field."]]
    encode = text_classifier.remembered(clip.encode_texts)
    texts = Texts(NAMES, text_classifier.fill(patterns, NAMES), descriptions, encode, clip.logit_scale, patterns)
    weights = text_classifier.build(encode, texts.templates, names=NAMES)
    with torch.inference_mode():
        features = clip.image.module(torch.stack([clip.image.preprocess(image) for image in opened.values()]))
    zero_shot = (clip.logit_scale * torch.nn.functional.normalize(features, dim=1) @ weights.T).softmax(dim=1)
    return Lesson(
        images=images,
        teacher=ordered(torch.full((COUNT, 3), (1 - confidence) / 2).scatter(1, answers[:, None], confidence)),
        classifier=weights,
        zero_shot=ordered(zero_shot),
        texts=texts,
        features=Space(features.half().numpy()),
    )


def ordered(p: Tensor) -> TopClasses:
    """A table of all classes by falling probability."""
    best, classes = p.clone().sort(dim=1, descending=True, stable=True)
    return TopClasses(classes, best)
