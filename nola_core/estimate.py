"""How long the stages will take on this machine, from a few batches of the collection itself."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.encoder import ImageEncoder
from nola_core.batches import image_batch
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.extraction import encode, loaded_batches
from nola_core.features import RowCache
from nola_core.files import digest, read_table
from nola_core.inputs import ROLES, Inputs, read
from nola_core.methods.collection import Space, Texts
from nola_core.methods.method import StudentMethod
from nola_core.stages.paths import Paths
from nola_core.students.images import Images
from nola_core.students.lesson import Lesson, TopClasses
from nola_core.trust.names import TEMPLATES
from nola_core.trust.words import NOUNS

BATCHES = 5
"""Batches timed at most, after one that is not."""
SECONDS = 4.0
"""No further batch is timed after this."""
TUNED = 24
"""Images of the two epochs that a tuning is timed on."""
TEXTS = 16
FIT_SECONDS, FIT_PER_IMAGE = 3.0, 0.0006
REPORT_SECONDS, REPORT_PER_IMAGE = 8.0, 0.0004
"""What fitting and the report take beside the models: benchmarks/results/scale.md, on two cores."""
BACKWARD = 3.0
"""A step of a tuning, in forward passes, where it was not timed."""


@dataclass(frozen=True)
class Estimate:
    """What a run will do and how long it takes.

    Attributes:
        images: usable images.
        unusable: images that cannot be read.
        embedded: role -> images whose features are there already.
        rate: role -> images per second of the tower; infinite if nothing is left to be embedded.
        seconds: step -> seconds: `embedding`, `fitting`, `report`, and `tuning` where a student is in force.
    """

    images: int
    unusable: int
    embedded: Mapping[str, int]
    rate: Mapping[str, float]
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of everything."""
        return sum(self.seconds.values())

    def tuning(self, epochs: int) -> float:
        """Seconds that so many epochs would take, roughly; from the speed of the tower alone. NaN if that was not measured."""
        rate = self.rate["clip"]
        return self.images * (epochs * BACKWARD + 1) / rate if math.isfinite(rate) else math.nan


def estimate(paths: Paths) -> Estimate:
    """Time the towers, and the students in force, on images of a collection that has been prepared.

    Raises:
        NolaError: a model or an image cannot be used.
    """
    place = device()
    manifest = read_table(paths["manifest.parquet"], ["image_id", "ok", "sha256"])
    usable = manifest[manifest["ok"].astype(bool)]
    open_image = image_opener(paths.root, paths.dataset)
    embedded: dict[str, int] = {}
    rate: dict[str, float] = {}
    embedding = models = 0.0
    for role in ROLES:
        inputs = read(paths.root, paths.dataset, "embed", role)
        start = time.monotonic()
        encoder: ImageEncoder = import_module(f"nola_core.backbones.{role}").load_encoder(
            inputs.spec(role), root=paths.root, device=place
        )
        models += time.monotonic() - start
        todo = _missing(encoder, usable, paths, inputs)
        embedded[role], rate[role] = len(usable) - len(todo), math.inf
        if todo:
            rate[role] = _rate(encoder, todo, open_image, place, inputs.values["precision"])
            embedding += len(todo) / rate[role]
        del encoder
    clip = load_clip(read(paths.root, paths.dataset, "embed", "clip").clip, root=paths.root, device=place)
    classify, tune = read(paths.root, paths.dataset, "classify"), read(paths.root, paths.dataset, "tune")
    texts = _text_seconds(clip, classify, classes=len(read_table(paths["classes.parquet"], ["name"])))
    seconds = {
        "embedding": embedding + models,
        "fitting": FIT_SECONDS + 2 * models + texts + FIT_PER_IMAGE * len(usable),
        "report": REPORT_SECONDS + REPORT_PER_IMAGE * len(usable),
    }
    students = tune.methods(paths.root, StudentMethod)
    if students:
        classes = read_table(paths["classes.parquet"], ["name"])["name"].tolist()
        tuning = 0.0
        for method, options in students.values():
            tuning += _tuning(method, options, inputs=tune, root=paths, classes=classes, usable=usable, open_image=open_image)
        seconds["tuning"] = tuning
    return Estimate(len(usable), len(manifest) - len(usable), embedded, rate, seconds)


def _missing(encoder: ImageEncoder, usable: pd.DataFrame, paths: Paths, inputs: Inputs) -> list[str]:
    """The images that are not in the row cache, whose key is that of `extraction.extract`."""
    precision = inputs.values["precision"]
    made_by = encoder.meta if precision == "float32" else {**encoder.meta, "precision": precision}
    folder = paths.cache / "rows" / digest({**made_by, "dim": encoder.dim, "code": inputs.code})[:16]
    if not folder.is_dir():
        return list(usable["image_id"])
    return list(usable.loc[~RowCache(folder, encoder.dim).contains(usable["sha256"].tolist()), "image_id"])


def _rate(
    encoder: ImageEncoder, ids: Sequence[str], open_image: Callable[[str], Image.Image], place: torch.device, precision: Any
) -> float:
    """Images per second of decoding and tower together, over images spread evenly."""
    size = image_batch(place)
    chosen = [ids[row] for row in _spread(len(ids), (BATCHES + 1) * size)]
    batches = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    start = begun = time.monotonic()
    done = 0
    for number, (batch, images) in enumerate(loaded_batches(batches, encoder.preprocess, open_image)):
        encode(encoder, images, place, precision)
        if number == 0 and len(batches) > 1:  # the first one also pays for memory and kernels
            start = time.monotonic()
            continue
        done += len(batch)
        if time.monotonic() - begun > SECONDS:
            break
    return done / max(time.monotonic() - start, 1e-3)


def _text_seconds(clip: Clip, inputs: Inputs, *, classes: int) -> float:
    """Seconds for the templates of all classes, and of the nouns that the names are compared with."""
    templates = len(inputs.texts["templates"])
    start = time.monotonic()
    with torch.inference_mode():
        clip.encode_texts([f"a photo of a {noun}." for noun in NOUNS[:TEXTS]])
    each = (time.monotonic() - start) / TEXTS
    return each * (classes * templates + len(NOUNS) * min(templates, TEMPLATES))


def _tuning(
    method: StudentMethod,
    options: Any,
    *,
    inputs: Inputs,
    root: Paths,
    classes: Sequence[str],
    usable: pd.DataFrame,
    open_image: Callable[[str], Image.Image],
) -> float:
    """Seconds of a tuning with its calibration and predictions, from two epochs on a few images with made-up answers."""
    from open_clip.transform import PreprocessCfg

    place = device()
    clip = load_clip(inputs.clip, root=root.root, device=place)
    ids = [usable["image_id"].iloc[row] for row in _spread(len(usable), TUNED)]
    shape = PreprocessCfg(**clip.model.visual.preprocess_cfg)
    size = (shape.size, shape.size) if isinstance(shape.size, int) else tuple(shape.size)
    images = Images(ids=ids, open=open_image, size=(size[0], size[1]), mean=shape.mean, std=shape.std, weak=clip.image.preprocess)
    generator = torch.Generator().manual_seed(0)
    answers = TopClasses(torch.arange(len(ids))[:, None] % len(classes), torch.ones(len(ids), 1))
    patterns = inputs.texts["templates"]
    lesson = Lesson(
        images=images,
        teacher=answers,
        classifier=torch.nn.functional.normalize(torch.randn(len(classes), clip.image.dim, generator=generator), dim=1),
        zero_shot=answers,
        texts=Texts(
            list(classes),
            [[pattern.replace("{}", name) for pattern in patterns] for name in classes],
            [[] for _ in classes],
            clip.encode_texts,
            clip.logit_scale,
            patterns,
        ),
        features=Space(np.zeros((len(ids), clip.image.dim), np.float16)),
    )
    with contextlib.redirect_stderr(io.StringIO()):
        tried = options.model_copy(update={"epochs": 2})
        student, curve = method.tune(clip, lesson, options=tried, seed=0, device=place)
    step = max(float(curve["seconds"].iloc[-1]), 0.01) / len(ids)
    views = torch.stack([clip.image.preprocess(open_image(one)) for one in ids[: image_batch(place)]]).to(place)
    student.logits(views)
    start = time.monotonic()
    student.logits(views)
    forward = (time.monotonic() - start) / len(views)
    return len(usable) * (step * options.epochs + 2 * forward)


def _spread(count: int, most: int) -> list[int]:
    """At most so many row numbers, evenly over all."""
    return [int(row) for row in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def spoken(seconds: float) -> str:
    """A length of time as one says it."""
    if seconds < 10:
        return "seconds"
    if seconds < 90:
        return f"about {10 * max(1, round(seconds / 10))} seconds"
    if seconds < 90 * 60:
        return f"about {max(2, round(seconds / 60))} minutes"
    if seconds < 36 * 3600:
        hours = seconds / 3600
        return f"about {hours:.1f} hours" if hours < 10 else f"about {hours:.0f} hours"
    return f"about {seconds / 86_400:.0f} days"
