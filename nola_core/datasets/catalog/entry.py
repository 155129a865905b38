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
    """The set of prompts for a language model about its classes."""
    torchvision: str | None
    """The class in torchvision.datasets that downloads it."""
    below: list[str]
    """Subfolders in which torchvision or CoOp put the files."""
    instruction: str
    """What to download and where to put it."""
    layouts: Annotated[list[AnyLayout], Field(min_length=1)]
    """The first layout whose files exist is used; the first in the list has the split of the papers."""
    verified: str
    """The reference with which names and order were compared."""
    templates: list[str]
    classes: dict[str, str]
    """The source's class name -> the name used with CLIP, in label order."""

    @property
    def names(self) -> list[str]:
        """Class names in label order."""
        return list(self.classes.values())


def names() -> list[str]:
    """The names of the data sets in the catalog."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load_entry(name: str) -> Entry:
    """A data set of the catalog.

    Raises:
        NolaError: the catalog has no such data set.
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
        labels: `reader` keeps the source's ground truth for `evaluate`; `none` leaves it out.
        backbones: a pair of `backbones/pairs.yaml`.

    Raises:
        NolaError: the catalog has no such data set.
    """
    entry = load_entry(name)
    has_unsplit = any("all" in layout.counts for layout in entry.layouts)
    images = {"reader": "catalog", "dataset": name, "holdout": 0.3 if has_unsplit else 0, "labels": labels}
    head = f"# {entry.title}, from the catalog: {entry.homepage}\n"
    if has_unsplit:
        head += "# `holdout` is the share of test images if the folder has no split file.\n"
    values = {"images": images, "classes": entry.names, "templates": entry.templates, "backbones": backbones}
    return head + yaml.safe_dump(values, sort_keys=False, width=120)
