"""The whole method in one call: unlabeled images and class names in, a classifier out; no project, no DVC, no Prefect.

It runs the stages of the pipeline in a folder of its own, so its result is the pipeline's, bit for bit. With `folder`, a repeated
call continues where an interrupted one stopped.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from nola_core import inputs
from nola_core.classifier import Classifier
from nola_core.config import parse
from nola_core.datasets.given import Images, given
from nola_core.errors import NolaError
from nola_core.files import digest, read_json, read_table, replacing, write_json
from nola_core.model_folder import load
from nola_core.prediction import matrix
from nola_core.stages.__main__ import run_stage
from nola_core.stages.paths import Paths

NAME = "images"
"""What the collection is called in the folder."""
STEPS = (
    ("prepare", None),
    ("describe", None),
    ("embed", "clip"),
    ("embed", "ssl"),
    ("classify", None),
    ("select", None),
    ("fit", None),
    ("tune", None),
    ("predict", None),
)
"""(stage, role): those of dvc.yaml that the model needs."""
TEMPLATE = "a photo of a {}."


def adapt(
    images: Images,
    class_names: Sequence[str],
    *,
    backbones: str | Mapping[str, Any] = "paper",
    templates: Sequence[str] = (TEMPLATE,),
    descriptions: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> Classifier:
    """Adapt CLIP to unlabeled images.

    Example:
        >>> model = nola_core.adapt("photos/", ["cat", "dog"], backbones="offline")
        >>> model.predictions["class"].value_counts()

    Args:
        images: a folder, or an iterable of paths and PIL images. All of them are learnt from; no label is read.
        class_names: at least two, as one would write them in a sentence.
        backbones: a pair of models (`nola backbones` lists them), or `clip` and `ssl` of its own.
        templates: sentences with `{}` for the class name.
        descriptions: class name -> sentences about it; without them the templates alone are used.
        settings: what differs from the defaults of params.yaml, such as `{"nola": {"epochs": 10}}` or `{"final": "alignment"}`.
        folder: where to work; kept, and used again by the next call with it. By default a temporary folder.
        quiet: print nothing but errors.

    Returns:
        The classifier; its `predictions` are those of `images`.

    Raises:
        NolaError: a class name, an image, a model or a setting is wrong.
    """
    with _workplace(folder) as root:
        with _hidden() if quiet else contextlib.nullcontext():
            names = _write_project(root, images, class_names, backbones, templates, descriptions, settings or {})
            inputs.write(root)
            for stage, role in STEPS:
                _run_if_stale(root, stage, role)
        paths = Paths(root, NAME)
        model = load(paths["model"], root=root)
        return model.with_predictions(_predictions(paths, model, names))


@contextlib.contextmanager
def _hidden() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _workplace(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="nola-") as temporary:
        yield Path(temporary).resolve()


def _write_project(
    root: Path,
    images: Images,
    class_names: Sequence[str],
    backbones: str | Mapping[str, Any],
    templates: Sequence[str],
    descriptions: Mapping[str, Sequence[str]] | None,
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """Write params.yaml, data/images.yaml and what they refer to.

    Returns:
        Image id -> what the user calls the image, where it differs.
    """
    values = {**settings, "datasets": [NAME]}
    parse(values, source="settings")
    if isinstance(class_names, str) or len(class_names) < 2:
        raise NolaError("class_names must be a list of at least two names.")
    source, called = _source(root, images)
    definition: dict[str, Any] = {
        **source,
        "classes": list(class_names),
        "templates": [templates] if isinstance(templates, str) else list(templates),
        "backbones": backbones if isinstance(backbones, str) else _absolute(backbones),
    }
    if descriptions is not None:
        unknown = sorted(set(descriptions) - set(class_names))
        if unknown:
            raise NolaError(f"descriptions names '{unknown[0]}', which is none of the class names.")
        missing = [name for name in class_names if not descriptions.get(name)]
        if missing:
            raise NolaError(f"descriptions has no sentence about '{missing[0]}'; add one, or leave descriptions out.")
        definition["descriptions"] = "descriptions.csv"
        rows = [{"class": name, "text": text, "provider": "given"} for name, texts in descriptions.items() for text in texts]
        _write_csv(root / "descriptions.csv", rows, ["class", "prompt", "text", "provider", "model"])
    for path, content in ((root / "params.yaml", values), (root / "data" / f"{NAME}.yaml", definition)):
        _write(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    return called


def _source(root: Path, images: Images) -> tuple[dict[str, Any], dict[str, str]]:
    """The images as a source of a definition: a folder where it lies; anything else as a table of paths, opened images as PNG."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        return {"source": str(Path(images).resolve()), "images": {"reader": "folder", "holdout": 0.0, "labels": "none"}}, {}
    if isinstance(images, str | Path) and not Path(images).exists():
        raise NolaError(f"{images} does not exist; give a folder of images, or an iterable of paths and PIL images.")
    place, called = root / "given", {}
    for one in given(images):
        path = one.source
        if isinstance(path, Image.Image):
            path = place / f"{int(one.name):08d}.png"
            _write(path, _png(one.open()))
        called[str(path.resolve())] = one.name
    _write_csv(place / "images.csv", [{"image": path} for path in called], ["image"])
    reader = {"reader": "table", "image_column": "image", "outside": True, "holdout": 0.0, "labels": "none"}
    return {"source": str(place / "images.csv"), "images": reader}, called


def _absolute(backbones: Mapping[str, Any]) -> dict[str, Any]:
    """Backbones whose local folders count from the working folder, as in any other call."""

    def placed(spec: Any) -> Any:
        if isinstance(spec, Mapping) and str(spec.get("model", "")).startswith("local-dir:"):
            folder = Path(str(spec["model"]).removeprefix("local-dir:")).resolve()
            return {**spec, "model": f"local-dir:{folder}"}
        return spec

    return {role: placed(spec) for role, spec in backbones.items()}


def _write_csv(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, stream.getvalue().encode())


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write a file unless it is there already: a new time stamp would make `prepare` read all images again."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def _run_if_stale(root: Path, stage: str, role: Any) -> None:
    """Run a stage unless it ran with the same inputs and so did all stages before it."""
    paths = Paths(root, NAME)
    done = paths.cache / "adapted.json"
    entries = read_json(done) if done.is_file() else {}
    order = [f"{name} {part}" if part else name for name, part in STEPS]
    key = f"{stage} {role}" if role else stage
    entry = digest({"values": dict(inputs.read(root, NAME, stage, role).values)})
    before = order[: order.index(key)]
    if entries.get(key) == entry and list(entries)[: len(before)] == before:
        return
    kept = {name: entries[name] for name in before}
    write_json(done, kept)
    run_stage(root, NAME, stage, role)
    write_json(done, {**kept, key: entry})


def _predictions(paths: Paths, model: Classifier, called: Mapping[str, str]) -> pd.DataFrame:
    """The predictions of the collection, in the columns of `Classifier.predict`."""
    manifest = read_table(paths["manifest.parquet"], ["image_id", "ok", "reason"])
    table = read_table(paths["predictions.parquet"])
    table = table[table["method"] == model.method].set_index("image_id")
    names = pd.Series(list(model.class_names))
    good = manifest.loc[manifest["ok"].astype(bool), "image_id"]
    mine = table.loc[good]
    classes, best = matrix(mine["top_classes"]), matrix(mine["top_probabilities"])
    shown = manifest["image_id"].map(lambda image_id: called.get(image_id, image_id))
    result = pd.DataFrame({"image": shown.astype("str")})
    for place in range(classes.shape[1]):
        suffix = f"_{place + 1}" if place else ""
        result[f"class{suffix}"] = pd.Series(names.to_numpy()[classes[:, place]], index=good.index, dtype="str")
        result[f"probability{suffix}"] = pd.Series(best[:, place], index=good.index)
    result["reason"] = manifest["reason"].where(~manifest["ok"].astype(bool), None)
    return result
