"""The folder of a model: what `Classifier.save` writes and `nola_core.load` reads.

model.json            everything about it: method, classes, templates, backbones with hashes, files with hashes
method.safetensors    what was fitted or tuned
descriptions.json     class -> the sentences in use, where there are any
README.md             the same for people, with the front matter that model hubs read
weights/clip, ssl     the frozen towers, where they were included
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from nola_core.backbones import clip as clips
from nola_core.backbones import ssl as encoders
from nola_core.backbones.encoder import ImageEncoder
from nola_core.backbones.export import export_weights
from nola_core.backbones.pairs import ClipSpec, SslSpec
from nola_core.classifier import Classifier
from nola_core.device import device
from nola_core.errors import NolaError
from nola_core.files import read_json, replacing, sha256_file, write_json
from nola_core.methods import registry, storage
from nola_core.methods.method import FittedMethod, Student, StudentMethod
from nola_core.model_card import card
from nola_core.schema import Precision, Section, validate

FORMAT = 1
"""Raised when an older NoLA could not read what this one writes."""
MODEL, METHOD, DESCRIPTIONS = "model.json", "method.safetensors", "descriptions.json"


class Backbone(Section):
    """One frozen tower.

    Attributes:
        spec: its entry of pairs.yaml: `model` and whatever else names it.
        weights_sha256: of the weights in force, `encoder.weights_sha256`.
        transform: the preprocessing in words.
        licence: of the weights; null: not recorded.
    """

    spec: dict[str, Any]
    weights_sha256: str
    transform: str
    licence: str | None = None


class About(Section):
    """`model.json`."""

    format: Literal[1] = 1
    nola: str
    dataset: str
    method: str
    title: str
    summary: str
    paper: str
    options: dict[str, Any]
    preset: str
    classes: list[str]
    display_names: list[str]
    templates: list[str]
    backbones: dict[Literal["clip", "ssl"], Backbone]
    precision: Precision = "float32"
    temperature: float = 1.0
    proportions: list[float] | None = None
    """Estimated share of every class among the images; null: not estimated."""
    measured: dict[str, Any] | None = None
    """What `evaluate` measured with labels: `split, images, top1, ...`, and `audit`; null: not measured."""
    corrections: dict[str, int] | None = None
    """How many corrections people gave before the methods were fitted: `images, merges, classes`; null: none."""
    files: dict[str, str] = {}  # noqa: RUF012  (pydantic copies it)
    """File of this folder -> SHA-256."""


def save(classifier: Classifier, folder: Path, *, include_weights: bool = False) -> Path:
    """See `Classifier.save`."""
    if folder.exists() and not (folder / MODEL).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise NolaError(f"{folder} exists and is no model of NoLA; choose another folder.")
    about = dict(classifier.about)
    descriptions = about.pop("descriptions", None)
    root, included = about.pop("root", None), about.pop("included", {})
    fitted = classifier.fitted
    with replacing(folder) as scratch:
        scratch.mkdir()
        method = registry.find(about["method"], root)
        clip_sha256 = about["backbones"]["clip"]["weights_sha256"] if isinstance(fitted, Student) else None
        storage.write(scratch / METHOD, method, fitted.tensors(), clip_sha256=clip_sha256)
        if descriptions:
            write_json(scratch / DESCRIPTIONS, descriptions)
        if include_weights:
            for role, backbone in about["backbones"].items():
                out = scratch / "weights" / role
                if role in included:
                    shutil.copytree(included[role], out)
                else:
                    export_weights(role, _spec(role, backbone["spec"]), root=root or Path(), out=out)
        about["files"] = {
            path.relative_to(scratch).as_posix(): sha256_file(path) for path in sorted(scratch.rglob("*")) if path.is_file()
        }
        checked = validate(About, about, source=MODEL)
        unsaid = {"corrections"} if checked.corrections is None else None
        write_json(scratch / MODEL, checked.model_dump(mode="json", exclude=unsaid))
        (scratch / "README.md").write_text(card(about, include_weights=include_weights), encoding="utf-8")
    return folder


def load(folder: str | Path, *, root: str | Path | None = None) -> Classifier:
    """Read a model folder, and its frozen towers from the folder itself or from where they are referenced.

    Args:
        folder: what `Classifier.save`, `nola run` (`data/<name>/model`) or `nola export` wrote.
        root: the folder that local paths of referenced weights count from; by default the project the model lies in, else the
            working folder.

    Raises:
        NolaError: no model, another version's, a file that is missing or not the one that was written, or weights that are not
            there or not the ones the model was made with.
    """
    folder = Path(folder)
    about = _about(folder)
    _check_files(folder, about)
    base = Path(root) if root is not None else _project(folder)
    method = registry.find(about.method, base)
    place = device()
    included: dict[str, Path] = {}
    towers: dict[str, clips.Clip | ImageEncoder] = {}
    for role, backbone in about.backbones.items():
        spec, here = _spec(role, backbone.spec), base
        if (folder / "weights" / role).is_dir():
            included[role] = folder / "weights" / role
            spec, here = _spec(role, {"model": f"local-dir:weights/{role}", "image_size": spec.image_size}), folder
        try:
            tower = _tower(spec, here, place)
            encoder = tower.image if isinstance(tower, clips.Clip) else tower
        except NolaError as error:
            raise NolaError(f"the {role} weights of the model {folder} cannot be loaded: {error}") from None
        if encoder.meta["weights_sha256"] != backbone.weights_sha256:
            raise NolaError(
                f"the model {folder} was made with other {role} weights than {spec.model} has here "
                f"(SHA-256 {backbone.weights_sha256[:12]}..., here {encoder.meta['weights_sha256'][:12]}...)."
            )
        towers[role] = tower
    images = {role: tower.image if isinstance(tower, clips.Clip) else tower for role, tower in towers.items()}
    clip = towers.get("clip")
    if isinstance(method, StudentMethod):
        options = validate(method.section, about.options, source=f"{folder / MODEL}")
        assert isinstance(clip, clips.Clip)
        fitted: Any = storage.read_student(folder / METHOD, method, clip, options=options)
    elif isinstance(method, FittedMethod):
        fitted = storage.read_fitted(folder / METHOD, method)
    else:
        raise NolaError(f"{folder / MODEL}: the method {about.method} cannot predict.")
    descriptions = read_json(folder / DESCRIPTIONS) if DESCRIPTIONS in about.files else None
    return Classifier(
        about={**about.model_dump(mode="json"), "descriptions": descriptions, "root": base, "included": included},
        class_names=about.classes,
        fitted=fitted,
        encoders=images,
        clip=clip if isinstance(method, StudentMethod) and isinstance(clip, clips.Clip) else None,
        device=place,
        precision=about.precision,
    )


def _about(folder: Path) -> About:
    path = folder / MODEL
    if not path.is_file():
        raise NolaError(f"{folder} is no model: it has no {MODEL}; `nola run` makes one, data/<name>/model.")
    values = read_json(path)
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        made = values.get("nola", "unknown") if isinstance(values, Mapping) else "unknown"
        found = values.get("format") if isinstance(values, Mapping) else None
        raise NolaError(
            f"{path} has the format {found}, written by NoLA {made}. This is NoLA {version('nola')}, reading format {FORMAT}; "
            "make the model again, or install the version that wrote it."
        )
    return validate(About, values, source=str(path))


def _check_files(folder: Path, about: About) -> None:
    for name, expected in about.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise NolaError(f"{folder / MODEL} names the file {name}, which is outside of the folder; do not use this model.")
        if not path.is_file():
            raise NolaError(f"the model {folder} is incomplete: {name} is missing; copy the whole folder again.")
        if sha256_file(path) != expected:
            raise NolaError(f"{path} is not the file that was written with this model; copy the whole folder again.")
    if METHOD not in about.files:
        raise NolaError(f"{folder / MODEL} does not list {METHOD}; make the model again.")


def _spec(role: str, values: Mapping[str, Any]) -> ClipSpec | SslSpec:
    return validate(ClipSpec, values, source="backbones") if role == "clip" else validate(SslSpec, values, source="backbones")


def _tower(spec: ClipSpec | SslSpec, root: Path, place: torch.device) -> clips.Clip | ImageEncoder:
    if isinstance(spec, ClipSpec):
        return clips.load_clip(spec, root=root, device=place)
    return encoders.load_encoder(spec, root=root, device=place)


def _project(folder: Path) -> Path:
    """The project a folder lies in, else the working folder."""
    for above in folder.resolve().parents:
        if (above / "params.yaml").is_file():
            return above
    return Path()
