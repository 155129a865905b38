"""A tuned student as plain open_clip weights, with its class embeddings beside them and the record of a check.

Only parts that merge into CLIP's own weights can be in them: norm layers, singular values, LoRA, class embeddings. Prompt tokens
cannot; `nola methods --parts` says which can.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nola_core.backbones.clip import WEIGHTS
from nola_core.backbones.export import export_weights
from nola_core.backbones.pairs import ClipSpec
from nola_core.classifier import Classifier
from nola_core.errors import NolaError
from nola_core.exports.checking import CHECKED, Check
from nola_core.exports.onnx import on_cpu
from nola_core.files import replacing, sha256_file, write_json
from nola_core.schema import validate
from nola_core.students.student import TunedStudent
from nola_core.text import markdown_safe

AT_ONCE = 8
README = """---
library_name: open_clip
pipeline_tag: image-classification
tags: ["clip", "nola", "label-free"]
---

# {title} for {dataset}, as open_clip weights

A CLIP model for open_clip, and the embeddings of {count} classes in `classes.safetensors`. `model.json` names the classes in
order and records the check: on {images} images the largest difference to NoLA in any probability was {difference:.1e}, and every
answer was the same.

```python
import json

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file

folder = "path/to/this/folder"
about = json.load(open(f"{{folder}}/model.json"))
model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{{folder}}")
classes = load_file(f"{{folder}}/classes.safetensors")["classes"]
image = preprocess(Image.open("photo.jpg").convert("RGB"))[None]
with torch.inference_mode():
    features = model.eval().encode_image(image, normalize={normalize})
    probabilities = ({scale}features @ classes.T).softmax(dim=1)
print(about["classes"][probabilities.argmax()])
```
"""


def write(classifier: Classifier, out: Path, images: Iterable[Image.Image]) -> dict[str, Any]:
    """Write the folder `open_clip_config.json`, `open_clip_model.safetensors`, `classes.safetensors`, `model.json`, `README.md`.

    Args:
        classifier: a student; it is on the CPU and merged afterwards, and gives the same answers.
        out: a folder that does not exist yet or is empty.
        images: for the check; at most `CHECKED` are used.

    Returns:
        What `model.json` says under `check`.

    Raises:
        NolaError: no student, a part that does not merge, a tower that is not from open_clip, weights that give other answers
            through open_clip, or no image to check them on.
    """
    student, about = classifier.fitted, classifier.about
    clip = classifier.clip
    if not isinstance(student, TunedStudent) or clip is None:
        raise NolaError(
            f"{about['title']} answers from features, which open_clip's weights cannot hold; set `final` in params.yaml to a "
            "student, or export the model folder or --to onnx."
        )
    if kept := student.unmerged():
        raise NolaError(
            f"plain CLIP weights cannot take up {' and '.join(kept)}; set `tune` of {about['method']} in params.yaml to parts "
            "that merge (nola methods --parts), or export the model folder or --to onnx."
        )
    classifier = on_cpu(classifier)
    shown = list(itertools.islice(images, CHECKED))
    expected = classifier.probabilities(shown).numpy() if shown else np.empty((0, len(classifier.class_names)))
    student.merge()
    with replacing(out) as scratch:
        _towers(about, scratch)
        state = {name: value.contiguous() for name, value in clip.model.state_dict().items()}
        save_file(state, scratch / WEIGHTS[0], metadata={"format": "pt"})
        classes, scale = _classes(student)
        save_file({"classes": classes}, scratch / "classes.safetensors")
        check = compare(scratch, shown, expected, scale=scale)
        record = {
            "nola": version("nola"),
            **{key: about[key] for key in ("dataset", "method", "title", "classes")},
            "normalize": scale is not None,
            "scale": scale,
            "measured": about.get("measured"),
            "files": {path.name: sha256_file(path) for path in sorted(scratch.iterdir())},
            "check": check,
        }
        write_json(scratch / "model.json", record)
        text = README.format(
            title=markdown_safe(about["title"]),
            dataset=markdown_safe(about["dataset"]),
            count=f"{len(classifier.class_names):,}",
            images=check["images"],
            difference=check["largest_difference"],
            normalize=scale is not None,
            scale="" if scale is None else 'about["scale"] * ',
        )
        (scratch / "README.md").write_text(text, encoding="utf-8")
    return check


def compare(folder: Path, images: list[Image.Image], expected: np.ndarray, *, scale: float | None) -> dict[str, Any]:
    """Hold the folder, read by open_clip alone, against probabilities float32 [N, C].

    Raises:
        NolaError: they do not agree, or there is no image.
    """
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    classes, check = load_file(folder / "classes.safetensors")["classes"], Check()
    model.eval()
    for start in range(0, len(images), AT_ONCE):
        views = torch.stack([preprocess(image.convert("RGB")) for image in images[start : start + AT_ONCE]])
        with torch.inference_mode():
            features = model.encode_image(views, normalize=scale is not None)
            found = ((1 if scale is None else scale) * features @ classes.T).softmax(dim=1).numpy()
        check.add(found, expected[start : start + AT_ONCE])
    record = check.record({name: version(name) for name in ("torch", "open_clip_torch")})
    if not check.agrees:
        raise NolaError(f"the weights do not give the same answers through open_clip: {check}. Nothing was written.")
    return record


def _classes(student: TunedStudent) -> tuple[torch.Tensor, float | None]:
    """The class embeddings float32 [C, d] with the temperature in them, or unit rows and the scale of the cosines."""
    classes = student.classes().detach().float().cpu()
    if student.scale is None:
        return (classes / student.temperature).contiguous(), None
    return torch.nn.functional.normalize(classes, dim=1).contiguous(), student.scale / student.temperature


def _towers(about: Mapping[str, Any], out: Path) -> None:
    """The configuration of the tower; what it had for weights is not kept."""
    included = about.get("included", {}).get("clip")
    if included is not None:
        shutil.copytree(included, out, copy_function=shutil.copyfile)
    else:
        spec = validate(ClipSpec, about["backbones"]["clip"]["spec"], source="backbones")
        export_weights("clip", spec, root=about.get("root") or Path(), out=out)
    for name in WEIGHTS:
        (out / name).unlink(missing_ok=True)
