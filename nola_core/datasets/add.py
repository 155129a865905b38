"""A collection of one's own -> `data/<name>.yaml` and an entry in `params.yaml`, with every comment there kept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from nola_core.config import load, parse
from nola_core.datasets.definition import DatasetDefinition, check_definition
from nola_core.datasets.listing import survey
from nola_core.datasets.manifest import class_table
from nola_core.datasets.readers import open_reader
from nola_core.datasets.readers.huggingface import is_huggingface
from nola_core.datasets.readers.reader import SPLITS, SUFFIXES
from nola_core.errors import NolaError
from nola_core.files import remove, replacing

TEMPLATE = "a photo of a {}."
HOLDOUT = 0.2
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Added:
    """What was found in a new collection."""

    reader: str
    images: dict[str, int]
    """Split -> number of entries."""
    classes: list[str]


def add(
    root: Path,
    name: str,
    source: str,
    *,
    classes: str | None = None,
    reader: str | None = None,
    labels: str = "none",
    templates: Sequence[str] = (),
    descriptions: str | None = None,
    backbones: str | None = None,
    dataset: str | None = None,
    force: bool = False,
) -> Added:
    """Define a collection. Nothing is written before all of it is known to be sound.

    Args:
        root: the project's folder.
        name: of the data set: a-z, 0-9 and _.
        source: a folder, table or shard, or a pattern of shards (`shards/train-*.tar`), relative to the working folder.
        classes: `cat,dog`, a text file with one a line (its names are copied), `folders` or `reader`; by default whatever
            the source knows.
        reader: see `ReaderName`; by default guessed, see `guess_reader`.
        labels: `none`, `folders` or `reader`.
        templates: texts with `{}` for the class name; `TEMPLATE` if there are none.
        descriptions: a table of sentences.
        backbones: name of a pair, or None for that of params.yaml.
        dataset: the class of torchvision.datasets.
        force: replace a data set of that name.

    Raises:
        NolaError: the name is taken or unfit, the source is absent, nothing known or without images, or a value is wrong.
    """
    settings = load(root)
    path = root / "data" / f"{name}.yaml"
    if not force and (name in settings.datasets or path.exists()):
        raise NolaError(f"there is a data set '{name}' already; take another name, `nola remove {name}`, or add --force.")
    place, images = _images(Path(source), reader=reader, dataset=dataset)
    images |= {"holdout": HOLDOUT, "labels": labels}
    if backbones is not None:
        from nola_core.backbones.pairs import load_pair  # loads torch: seconds that most calls can do without

        load_pair(backbones)
    values: dict[str, object] = {
        "images": images,
        "classes": _classes(classes, str(images["reader"])),
        "templates": list(templates) or [TEMPLATE],
        "backbones": backbones,
    }
    definition = check_definition(values, name=name, source=str(place), path=path)
    found = _look(definition)
    watched = {"images": _from(place, root), "descriptions": _from(Path(descriptions or path), root)}
    if descriptions and not Path(descriptions).is_file():
        raise NolaError(f"the descriptions {descriptions} do not exist.")
    params = _with_entry(_without_entry((root / "params.yaml").read_text(), name), name, watched)
    parse(yaml.safe_load(params), source=f"params.yaml with the data set '{name}'")
    with replacing(root / "params.yaml") as scratch_params, replacing(path) as scratch:
        scratch.write_text(_definition_text(values, found), encoding="utf-8")
        scratch_params.write_text(params, encoding="utf-8")
    return found


def delete(root: Path, name: str) -> None:
    """Take a collection out of `params.yaml` and delete its definition; images and results stay.

    Raises:
        NolaError: there is none of that name, or it is the only one.
    """
    settings = load(root)
    if name not in settings.datasets:
        raise NolaError(f"params.yaml has no data set '{name}' (it has: {', '.join(settings.datasets)}).")
    if len(settings.datasets) == 1:
        raise NolaError(f"'{name}' is the only data set; add another before you remove it.")
    params = _without_entry((root / "params.yaml").read_text(), name)
    parse(yaml.safe_load(params), source=f"params.yaml without the data set '{name}'")
    with replacing(root / "params.yaml") as scratch:
        scratch.write_text(params, encoding="utf-8")
    remove(root / "data" / f"{name}.yaml")


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
    for folder, _, names in os.walk(source):
        suffixes = {os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}  # noqa: PTH122
        if suffixes & set(SUFFIXES):
            return "folder"
        if ".tar" in suffixes:
            return "webdataset"
        if ".parquet" in suffixes and is_huggingface(Path(folder)):
            return "huggingface"
    return "folder"


def _images(source: Path, *, reader: str | None, dataset: str | None) -> tuple[Path, dict[str, object]]:
    """The place DVC watches, and the `images` section but for hold-out and labels."""
    if "*" in source.name:
        return source.parent, {"reader": reader or "webdataset", "shards": source.name}
    if dataset is not None:
        return source, {"reader": "torchvision", "dataset": dataset}
    kind = reader or guess_reader(source)
    if kind == "table" and source.suffix.lower() in (".csv", ".tsv"):  # its images lie beside it: watch them too
        return source.parent, {"reader": kind, "table": source.name}
    return source, {"reader": kind}


def _classes(classes: str | None, reader: str) -> list[str] | str:
    if classes is None:
        return "folders" if reader == "folder" else "reader"
    if classes in ("folders", "reader"):
        return classes
    if Path(classes).is_file():
        try:
            return [line.strip() for line in Path(classes).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise NolaError(f"the class list {classes} is no UTF-8.") from None
    if "," not in classes:
        raise NolaError(f"--classes {classes}: no such file; give a text file, names with commas between them, or `folders`.")
    return [name.strip() for name in classes.split(",")]


def _look(definition: DatasetDefinition) -> Added:
    reader = open_reader(definition)
    listing = survey(definition, reader)
    if not len(listing):
        raise NolaError(f"{definition.source} holds no image that the reader {definition.images.reader} knows.")
    images = dict.fromkeys(SPLITS, 0)
    for entry in reader.scan():
        images[listing.split_of(entry)] += 1
    names = class_table(definition, reader)["name"].tolist()
    return Added(definition.images.reader, {split: count for split, count in images.items() if count}, names)


def _from(path: Path, root: Path) -> str:
    """`path` as params.yaml has it: relative to the project where it lies inside."""
    whole, base = path.absolute(), root.absolute()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)


def _definition_text(values: dict[str, object], found: Added) -> str:
    notes = {
        "reader": "docs/formats.md lists the readers and their keys",
        "holdout": "test images of a collection without a split: a share, or a number from 1",
        "labels": "ground truth for evaluate alone: none, folders or reader",
    }
    counted = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
    lines = [f"# Written by `nola add`, which found {counted}. Change what you like."]
    for line in yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100).splitlines():
        key = re.match(r"  (\w+): ", line)
        lines.append(f"{line:<24}# {notes[key.group(1)]}" if key and key.group(1) in notes else line)
    templates = lines.index("templates:")
    lines[templates] = "templates:              # {} is the class name; the first alone is the zero-shot classifier"
    return "\n".join(lines) + "\n"


def _with_entry(text: str, name: str, watched: dict[str, str]) -> str:
    """The text of params.yaml with one more data set at the end of `datasets`."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if re.match(r"datasets:", line))
    end = _end_of_block(lines, start)
    lines[start] = re.sub(r"^datasets:\s*\{\s*\}", "datasets:", lines[start])
    quoted = [
        f"    {key}: {yaml.safe_dump(value, allow_unicode=True, width=10_000).splitlines()[0]}" for key, value in watched.items()
    ]
    return "\n".join([*lines[:end], f"  {name}:", *quoted, *lines[end:]]) + "\n"


def _without_entry(text: str, name: str) -> str:
    """The text of params.yaml without a data set; the same text if it is not there."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if re.match(r"datasets:", line)), len(lines))
    end = _end_of_block(lines, start)
    first = next((number for number in range(start, end) if re.match(rf"  {re.escape(name)}:", lines[number])), None)
    if first is None:
        return text
    last = next((number for number in range(first + 1, end) if re.match(r"  [^\s#]", lines[number])), end)
    return "\n".join([*lines[:first], *lines[last:]]) + "\n"


def _end_of_block(lines: list[str], start: int) -> int:
    """The line after the last indented one that belongs to the top-level key at `start`."""
    inside = [number for number in range(start + 1, len(lines)) if lines[number].startswith(" ") and lines[number].strip()]
    end = next((number for number in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[number])), len(lines))
    return max((number + 1 for number in inside if number < end), default=start + 1)
