"""`data/<name>.yaml`: the definition of one collection."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from nola_core.config import load
from nola_core.errors import NolaError
from nola_core.schema import Section, read_yaml, validate
from nola_core.text import printable

ReaderName = Literal["folder", "table", "webdataset", "huggingface", "torchvision", "catalog", "digits"]
"""Each is a module of `nola_core.datasets.readers`."""

DIGITS = "scikit-learn's digits"
"""Used as the source of the reader `digits`."""
COLUMNS = ("image_column", "label_column", "split_column")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "table": ("table", "splits", "outside", *COLUMNS),
    "webdataset": ("shards", "splits"),
    "huggingface": ("splits", "outside", *COLUMNS),
    "torchvision": ("dataset", "splits"),
    "catalog": ("dataset",),
}
"""Reader -> the keys of `images` that it accepts besides `reader`, `holdout` and `labels`."""


class Images(Section):
    """Where the images are, how they are split and where the ground truth is."""

    reader: ReaderName
    holdout: Annotated[float, Field(ge=0)]
    """Test images if the collection has no split: a share below 1, or a number. Chosen by hash, not by label."""
    labels: Literal["none", "folders", "reader"]
    """Ground truth for `evaluate`: none, the name of an image's folder, or the labels of the source itself."""
    table: str | None = None
    """The table in the folder of images, if the source is a folder; then changes in the images are detected too."""
    shards: str | None = None
    """A pattern for the shards in a folder, such as `train-*.tar`."""
    dataset: str | None = None
    """The class in torchvision.datasets, or the name of the data set in `nola_core.datasets.catalog`."""
    outside: bool | None = None
    """Whether a table may contain paths outside its folder; changes in those images are not detected."""
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    splits: dict[str, Literal["train", "val", "test"]] | None = None
    """The source's split name -> train, val or test; splits that are not listed are left out."""

    @model_validator(mode="after")
    def _options_fit_the_reader(self) -> Images:
        known = OPTIONS.get(self.reader, ())
        for key in sorted({option for options in OPTIONS.values() for option in options}):
            if getattr(self, key) is not None and key not in known:
                able = [reader for reader, options in OPTIONS.items() if key in options]
                raise ValueError(f"images.{key} is for the readers {', '.join(able)}, not for {self.reader}; remove it")
        for key, place in (("table", self.table), ("shards", self.shards)):
            if place is not None and (not place or Path(place).is_absolute() or ".." in Path(place).parts):
                raise ValueError(f"images.{key} = '{place}' must be inside the folder `source`; write a path relative to it")
        if self.reader == "torchvision" and self.dataset is None:
            raise ValueError("images.dataset is missing; set it to a class in torchvision.datasets, for example OxfordIIITPet")
        if self.reader == "catalog" and self.dataset is None:
            raise ValueError(
                "images.dataset is missing; set it to a data set of the catalog, for example dtd (`nola catalog` lists them)"
            )
        if self.splits is not None and "train" not in self.splits.values():
            raise ValueError("images.splits has no training split; map one split to train")
        return self


class DatasetDefinition(Section):
    """A collection as its YAML file defines it; `name` is the file name. Paths are relative to the project root."""

    name: str
    source: Annotated[str, Field(min_length=1)]
    """The folder, table or shard with the images. Not needed for the reader `digits`."""
    descriptions: Annotated[str, Field(min_length=1)] | None = None
    """A CSV or Parquet table of sentences about the classes, or published descriptions in JSON."""
    images: Images
    classes: list[str] | str
    """Class names as a CLIP user would write them, a text file with one name per line, `folders` (the names of the sub-folders)
    or `reader` (the names stored in the source)."""
    templates: Annotated[list[str], Field(min_length=1)]
    """Texts with `{}` for the class name; the first one alone makes the zero-shot classifier."""
    backbones: str | dict[str, Any] | None
    """A backbone pair: its name, `CLIP+SSL`, its own `clip` and `ssl`, or null for `embed.backbones` of params.yaml."""
    corrections: bool | None = None
    """Whether the corrections of this data set count; null: as params.yaml says."""

    @field_validator("source", "descriptions")
    @classmethod
    def _is_a_path(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError(f"{info.field_name} = {value!r}: a path cannot contain a zero byte; remove it")
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_text(cls, classes: Any) -> Any:
        if isinstance(classes, str):
            return classes
        if not isinstance(classes, list):
            raise ValueError("classes must be a list of names, a text file with one name per line, `folders` or `reader`")
        for position, name in enumerate(classes, start=1):
            if name is None:
                raise ValueError(f"class {position} of {len(classes)} has no name; give it one")
            if not isinstance(name, str):
                raise ValueError(
                    f"class {position} of {len(classes)} is {name!r}, which YAML does not read as text; put it in quotes"
                )
        return classes


def load_definition(root: Path, dataset: str) -> DatasetDefinition:
    """Read `root/data/<dataset>.yaml`; the returned paths are joined to `root`.

    Raises:
        NolaError: the data set is not in params.yaml, its file is missing, or a key is unknown, missing or out of range.
    """
    settings = load(root)
    if dataset not in settings.datasets:
        known = ", ".join(settings.datasets) or "none"
        raise NolaError(f"params.yaml has no data set '{dataset}' (it has: {known}); add it to `datasets`.")
    return check_definition(read_yaml(root / "data" / f"{dataset}.yaml"), name=dataset, root=root)


def check_definition(values: Mapping[str, Any], *, name: str, root: Path) -> DatasetDefinition:
    """The content of `root/data/<name>.yaml` as a definition, its paths joined to `root`.

    Raises:
        NolaError: a key is unknown, missing or out of range.
    """
    path = root / "data" / f"{name}.yaml"
    if "name" in values:
        raise NolaError(f"{path}: unknown key 'name'; remove it, because the file name is the name of the data set.")
    images = values.get("images")
    embedded = isinstance(images, Mapping) and images.get("reader") == "digits"
    values = {**({"source": DIGITS} if embedded else {}), **values, "name": name}
    definition = validate(DatasetDefinition, values, source=str(path))
    for template in definition.templates:
        if template.count("{}") != 1 or re.search(r"[{}]", template.replace("{}", "")):
            raise NolaError(
                f"{path}: template '{printable(template)}' must contain {{}} exactly once, for the class name, and no other "
                "braces."
            )
    joined: dict[str, Any] = {}
    if not embedded:
        joined["source"] = str(root / definition.source)
        check_place(Path(joined["source"]), root / "data" / name)
    if definition.descriptions is not None:
        joined["descriptions"] = str(root / definition.descriptions)
    if isinstance(definition.classes, str) and definition.classes not in ("folders", "reader"):
        joined["classes"] = str(root / definition.classes)
    return definition.model_copy(update=joined)


def check_place(source: Path, results: Path) -> None:
    """Refuse a source that overlaps with the folder of results, because every run would change it.

    Raises:
        NolaError: one contains the other, or they are the same.
    """
    images, written = (Path(os.path.realpath(place)) for place in (source, results))
    if written.is_relative_to(images) or images.is_relative_to(written):
        raise NolaError(
            f"the results are written to {written}, which overlaps with the images in {images}; move the images elsewhere."
        )
