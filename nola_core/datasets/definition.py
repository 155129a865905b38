"""`data/<name>.yaml`: what one collection is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from nola_core.config import Section, load, read_yaml, validate
from nola_core.errors import NolaError


class Images(Section):
    """Where the images are, how they are split and who knows the truth."""

    reader: Literal["folder", "digits"]
    holdout: Annotated[float, Field(ge=0)]
    """Test images of a collection without a split of its own: a share below 1, else a number. Chosen by hash, not by label."""
    labels: Literal["none", "folders", "reader"]
    """Ground truth for `evaluate`: none, the name of the folder an image lies in, or what the reader itself knows."""


class DatasetDefinition(Section):
    """A collection as its YAML file defines it; `name` and `source` are filled in from outside the file."""

    name: str
    source: str
    """The folder or file with the images: `datasets.<name>.images` of params.yaml."""
    images: Images
    classes: list[str] | str
    """Class names as a CLIP user would write them, a text file with one a line, or `folders`: the names of the sub-folders."""
    templates: Annotated[list[str], Field(min_length=1)]
    """Texts with `{}` for the class name; the first alone is the zero-shot classifier."""
    backbones: str | dict[str, Any] | None
    """A backbone pair: its name, `CLIP+SSL`, its own `clip` and `ssl`, or null for `embed.backbones` of params.yaml."""

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_text(cls, classes: Any) -> Any:
        if isinstance(classes, str):
            return classes
        if not isinstance(classes, list):
            raise ValueError("classes must be a list of names, a text file with one a line, or `folders`")
        for position, name in enumerate(classes, start=1):
            if name is None:
                raise ValueError(f"class {position} of {len(classes)} has no name")
            if not isinstance(name, str):
                raise ValueError(f"class {position} of {len(classes)} is {name!r}, no text to YAML; put it in quotes")
        return classes


def load_definition(root: Path, dataset: str) -> DatasetDefinition:
    """Read `root/data/<dataset>.yaml`.

    Raises:
        NolaError: the data set is not in params.yaml, its file is absent, or a key is unknown, missing or out of range.
    """
    settings = load(root)
    if dataset not in settings.datasets:
        known = ", ".join(settings.datasets) or "none"
        raise NolaError(f"params.yaml has no data set '{dataset}' (it has: {known}); add it under `datasets:`.")
    path = root / "data" / f"{dataset}.yaml"
    source = settings.datasets[dataset].images
    values = {**read_yaml(path), "name": dataset, "source": str(root / source)}
    if isinstance(values.get("classes"), str) and values["classes"] != "folders":
        values["classes"] = str(root / values["classes"])
    definition = validate(DatasetDefinition, values, source=str(path))
    for template in definition.templates:
        if template.count("{}") != 1:
            raise NolaError(f"{path}: template '{template}' must hold {{}} once, where the class name goes.")
    return definition
