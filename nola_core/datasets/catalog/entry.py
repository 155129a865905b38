"""The fourteen data sets of the papers, one YAML file each."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from nola_core.datasets.catalog.layouts import AnyLayout
from nola_core.errors import NolaError
from nola_core.schema import Section, read_yaml, validate

FOLDER = Path(__file__).parent


class Entry(Section):
    """A known data set."""

    title: str
    homepage: str
    prompts: Literal["general", "satellite", "textures", "actions", "flowers", "pets", "cars", "aircraft", "food", "scenes"]
    """The set of prompts a language model is asked about its classes."""
    torchvision: str | None
    """The class of torchvision.datasets that fetches it."""
    below: list[str]
    """Where torchvision or CoOp put the files below the folder that a user names."""
    instruction: str
    """What to fetch and where to put it."""
    layouts: Annotated[list[AnyLayout], Field(min_length=1)]
    """The first whose files are there is read; the first of all has the split of the papers."""
    verified: str
    """What names and order were held against."""
    templates: list[str]
    classes: dict[str, str]
    """What the source calls a class -> the name CLIP's users know, in label order."""

    @property
    def names(self) -> list[str]:
        """Class names in label order."""
        return list(self.classes.values())


def names() -> list[str]:
    """The data sets of the catalog."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load_entry(name: str) -> Entry:
    """A data set of the catalog.

    Raises:
        NolaError: there is none of that name.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}."
        raise NolaError(f"the catalog has no data set '{name}'; {hint}")
    path = FOLDER / f"{name}.yaml"
    return validate(Entry, read_yaml(path), source=path.name)


def definition_yaml(name: str, *, labels: Literal["none", "reader"] = "reader", backbones: str = "paper") -> str:
    """The text of `data/<dataset>.yaml` for a data set of the catalog.

    Args:
        labels: `reader` keeps the source's truth for `evaluate`; `none` leaves it out.
        backbones: a pair of `backbones/pairs.yaml`.

    Raises:
        NolaError: there is none of that name.
    """
    entry = load_entry(name)
    has_unsplit = any("all" in layout.counts for layout in entry.layouts)
    images = {"reader": "catalog", "dataset": name, "holdout": 0.3 if has_unsplit else 0, "labels": labels}
    head = f"# {entry.title}, from the catalog: {entry.homepage}\n"
    if has_unsplit:
        head += "# `holdout` is the share of test images where the folder holds no split file.\n"
    values = {"images": images, "classes": entry.names, "templates": entry.templates, "backbones": backbones}
    return head + yaml.safe_dump(values, sort_keys=False, width=120)
