"""A model as an ONNX graph, images in and probabilities out, with the record of its check against torch.

Only what torch computes can be in a graph. A method that looks images up outside of torch is found by the check and refused.
"""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nola_core.backbones.encoder import ImageEncoder
from nola_core.classifier import CPU, Classifier
from nola_core.errors import NolaError
from nola_core.exports.checking import CHECKED, Check
from nola_core.files import replacing, sha256_file, write_json
from nola_core.methods.method import Fitted, Student

AT_ONCE = 8
OPSET = 20  # the first that has GELU

README = """# {title} for {dataset}, as an ONNX graph

`model.onnx` maps preprocessed images to the probabilities of {count} classes. `model.json` says how images are preprocessed,
names the classes in order, and records the check of the graph: on {images} images the largest difference to torch in any
probability was {difference:.1e}, and every answer was the same.

```python
import json

import onnxruntime

about = json.load(open("model.json"))
session = onnxruntime.InferenceSession("model.onnx")
(probabilities,) = session.run(None, {{one["name"]: images for one in about["inputs"]}})  # float32 [B, 3, H, W] each
```
"""


def write(classifier: Classifier, out: Path, images: Iterable[Image.Image]) -> dict[str, Any]:
    """Write the folder `model.onnx`, `model.json`, `README.md`.

    Args:
        classifier: its towers go to the CPU.
        out: a folder that does not exist yet or is empty.
        images: for the check; at most `CHECKED` are used.

    Returns:
        What `model.json` says under `check`.

    Raises:
        NolaError: onnxruntime is not installed, the model cannot be written as a graph, the graph does not agree with torch, or
            there is no image to check it on.
    """
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        raise NolaError("the packages onnx and onnxruntime are missing; install them with: pip install 'nola[onnx]'.")
    classifier = on_cpu(classifier)
    encoders = inputs(classifier)
    with replacing(out) as scratch:
        scratch.mkdir()
        _export(classifier, scratch / "model.onnx")
        check = compare(classifier, scratch / "model.onnx", itertools.islice(images, CHECKED))
        about = classifier.about
        record = {
            "nola": version("nola"),
            **{key: about[key] for key in ("dataset", "method", "title", "classes")},
            "inputs": [
                {"name": role, "shape": ["batch", *_example(one).shape[1:]], "transform": one.meta["transform"]}
                for role, one in encoders.items()
            ],
            "output": {"name": "probabilities", "shape": ["batch", len(classifier.class_names)]},
            "files": {path.name: sha256_file(path) for path in sorted(scratch.iterdir())},
            "check": check,
        }
        write_json(scratch / "model.json", record)
        text = README.format(
            title=about["title"],
            dataset=about["dataset"],
            count=len(classifier.class_names),
            images=check["images"],
            difference=check["largest_difference"],
        )
        (scratch / "README.md").write_text(text, encoding="utf-8")
    return check


def inputs(classifier: Classifier) -> dict[str, ImageEncoder]:
    """Role -> the tower whose preprocessing the input of that name needs, in the order of the graph's inputs."""
    return {"clip": classifier.clip.image} if classifier.clip is not None else dict(classifier.encoders)


def on_cpu(classifier: Classifier) -> Classifier:
    """The same on the CPU in float32, where both sides of the check compute."""
    for encoder in classifier.encoders.values():
        encoder.module.to(CPU)
    if isinstance(classifier.fitted, nn.Module):
        classifier.fitted.to(CPU)
    if classifier.clip is not None:
        classifier.clip.model.to(CPU)
        setattr(classifier.fitted, "precision", "float32")  # noqa: B010 (of a student)
    return replace(classifier, device=CPU, precision="float32")


class Graph(nn.Module):
    """A classifier as one module: preprocessed images, one tensor [B, 3, H, W] a tower -> probabilities [B, C]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self._fitted = classifier.fitted
        towers = [] if isinstance(self._fitted, Student) else [one.module for one in classifier.encoders.values()]
        self.towers = nn.ModuleList([self._fitted] if isinstance(self._fitted, nn.Module) else []).extend(towers)
        self._roles = dict(zip(classifier.encoders, towers, strict=True)) if towers else {}

    def forward(self, *images: Tensor) -> Tensor:
        if isinstance(self._fitted, Student):
            return self._fitted.predict(images[0])
        assert isinstance(self._fitted, Fitted)
        features = {}
        for (role, tower), views in zip(self._roles.items(), images, strict=True):
            rows = tower(views).float().half().float()  # rounded as in a feature store
            features[role] = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        return self._fitted.predict(features)


def compare(classifier: Classifier, path: Path, images: Iterable[Image.Image]) -> dict[str, Any]:
    """Hold a graph against torch on some images.

    Returns:
        `images`, `largest_difference` in any probability, `same_answers`, `tolerance`, and the `versions` of both.

    Raises:
        NolaError: a probability differs by more than `TOLERANCE`, an answer differs, or there is no image.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    encoders, waiting = inputs(classifier), iter(images)
    check = Check()
    while batch := list(itertools.islice(waiting, AT_ONCE)):
        views = {role: torch.stack([one.preprocess(image) for image in batch]).numpy() for role, one in encoders.items()}
        try:
            (found,) = session.run(None, views)
        except Exception as error:  # onnxruntime's own, which have no common base
            raise _refused(classifier, "it takes no other images than it was traced with") from error
        check.add(found, classifier.probabilities(batch).numpy())
    record = check.record({name: version(name) for name in ("torch", "onnxruntime")})
    if not check.agrees:
        raise _refused(classifier, str(check))
    return record


def _refused(classifier: Classifier, what: str) -> NolaError:
    return NolaError(
        f"the ONNX graph of {classifier.method} does not agree with torch: {what}. A method that looks images up outside "
        "of torch cannot be a graph; export a student or the alignment head, by setting `final` in params.yaml."
    )


def _example(encoder: ImageEncoder) -> Tensor:
    """Two different views of noise: what a method looks up for them is wrong for the images of the check."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return torch.stack([encoder.preprocess(Image.fromarray(one)) for one in noise])


def _export(classifier: Classifier, path: Path) -> None:
    """Trace the graph. The tracing exporter takes seconds where torch.export takes a minute, to the same probabilities."""
    encoders = inputs(classifier)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no such operator
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Graph(classifier).eval(),
                tuple(_example(one) for one in encoders.values()),
                path,
                input_names=list(encoders),
                output_names=["probabilities"],
                dynamic_axes={name: {0: "batch"} for name in (*encoders, "probabilities")},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises whatever it meets
        reason = str(error).strip().splitlines()
        raise NolaError(
            f"{classifier.method} cannot be written as an ONNX graph: {reason[-1] if reason else type(error).__name__}. "
            "Export a student or the alignment head, by setting `final` in params.yaml."
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
