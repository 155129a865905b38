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
from dataclasses import dataclass
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
from nola_core.model_folder import MODEL, load
from nola_core.prediction import matrix
from nola_core.stages.__main__ import run_stage
from nola_core.stages.paths import Paths

NAME = "images"
"""What the collection is called in the folder."""
Step = tuple[str, inputs.Role | None]
STEPS: tuple[Step, ...] = (
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
PAGE: tuple[Step, ...] = (("duplicates", None), ("evaluate", None), ("report", None))
"""What the report needs beside them."""
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
        work = Work(root)
        with _hidden() if quiet else contextlib.nullcontext():
            called = work.write(
                images,
                class_names,
                backbones=backbones,
                templates=[templates] if isinstance(templates, str) else templates,
                descriptions=descriptions,
                settings=settings or {},
            )
            for step in STEPS:
                work.run(*step)
        return load(work.paths["model"], root=root).with_predictions(work.predictions(called))


@dataclass(frozen=True)
class Work:
    """A folder in which the stages run, and what the one collection in it is called."""

    root: Path
    name: str = NAME

    @property
    def paths(self) -> Paths:
        """Where its files lie."""
        return Paths(self.root, self.name)

    def write(
        self,
        images: Images,
        class_names: Sequence[str],
        *,
        backbones: str | Mapping[str, Any],
        templates: Sequence[str] = (TEMPLATE,),
        descriptions: Mapping[str, Sequence[str]] | None = None,
        settings: Mapping[str, Any],
    ) -> dict[str, str]:
        """Write settings, definition and what they refer to, and resolve the inputs of all stages.

        Args: see `adapt`.

        Returns:
            Image id -> what the user calls the image, where it differs.

        Raises:
            NolaError: a setting or an argument is wrong.
        """
        values = {**settings, "datasets": [self.name]}
        parse(values, source="settings")
        if isinstance(class_names, str) or len(class_names) < 2:
            raise NolaError("class_names must be a list of at least two names.")
        source, called = _source(self.root, images)
        definition: dict[str, Any] = {
            **source,
            "classes": list(class_names),
            "templates": list(templates),
            "backbones": backbones if isinstance(backbones, str) else absolute(backbones),
        }
        if descriptions is not None:
            definition["descriptions"] = "descriptions.csv"
            rows = _descriptions(descriptions, class_names)
            _write_csv(self.root / "descriptions.csv", rows, ["class", "prompt", "text", "provider", "model"])
        for path, content in ((self.root / "params.yaml", values), (self.root / "data" / f"{self.name}.yaml", definition)):
            _write(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
        inputs.write(self.root)
        return called

    def run(self, stage: str, role: inputs.Role | None = None) -> None:
        """Run a stage unless it ran with the same inputs and so did all stages before it."""
        done = self.paths.cache / "adapted.json"
        entries = read_json(done) if done.is_file() else {}
        order = [f"{name} {part}" if part else name for name, part in STEPS + PAGE]
        key = f"{stage} {role}" if role else stage
        entry = digest({"values": dict(inputs.read(self.root, self.name, stage, role).values)})
        before = order[: order.index(key)]
        if entries.get(key) == entry and list(entries)[: len(before)] == before:
            return
        kept = {name: entries[name] for name in before}
        write_json(done, kept)
        run_stage(self.root, self.name, stage, role)
        write_json(done, {**kept, key: entry})

    def predictions(self, called: Mapping[str, str]) -> pd.DataFrame:
        """What the final method predicts for the collection, in the columns of `Classifier.predict`.

        Args:
            called: see `write`.
        """
        manifest = read_table(self.paths["manifest.parquet"], ["image_id", "ok", "reason"])
        table = read_table(self.paths["predictions.parquet"])
        about = read_json(self.paths["model"] / MODEL)
        table = table[table["method"] == about["method"]].set_index("image_id")
        names = pd.Series(about["classes"])
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


def _descriptions(descriptions: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> list[dict[str, str]]:
    """The rows of their table."""
    unknown = sorted(set(descriptions) - set(class_names))
    if unknown:
        raise NolaError(f"descriptions names '{unknown[0]}', which is none of the class names.")
    missing = [name for name in class_names if not descriptions.get(name)]
    if missing:
        raise NolaError(f"descriptions has no sentence about '{missing[0]}'; add one, or leave descriptions out.")
    return [{"class": name, "text": text, "provider": "given"} for name, texts in descriptions.items() for text in texts]


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


def absolute(backbones: Mapping[str, Any]) -> dict[str, Any]:
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
