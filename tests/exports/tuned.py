"""Students of tiny towers, as classifiers to export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.classifier import Classifier
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent

NAMES = ["cat", "dog", "owl"]


def images(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(count)]


def about(method: str) -> dict[str, object]:
    spec = {"model": "local-dir:clip"}
    return {"dataset": "pets", "method": method, "title": method, "classes": NAMES, "backbones": {"clip": {"spec": spec}}}


def student(folder: Path, tune: list[str], *, scale: float | None = 20.0) -> Classifier:
    """Tuned parts of `folder / "clip"` that are away from where they start."""
    clip = load_clip(ClipSpec(model="local-dir:clip"), root=folder)
    rows = torch.nn.functional.normalize(torch.randn(3, clip.image.dim, generator=torch.Generator().manual_seed(1)), dim=1)
    made = TunedStudent.make(clip, rows, names=NAMES, texts=NAMES, options=Options(tune=tune), seed=0, scale=scale)
    with torch.no_grad():
        for parameter in made.trained().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    made.finish()
    made.temperature = 1.5
    return Classifier(about={**about("nola"), "root": folder}, class_names=NAMES, fitted=made, encoders={}, clip=clip)
