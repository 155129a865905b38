"""Backbone pairs: the two models used for a data set."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nola_core.errors import NolaError
from nola_core.schema import Section, read_yaml, validate

PACKAGE = Path(__file__).parent
PAIRS = PACKAGE / "pairs.yaml"


class Spec(Section):
    """A model with weights."""

    model: str
    sha256: str | None = None
    """Hash of the loaded weights (`weights_sha256`), checked if set."""
    image_size: Annotated[int, Field(ge=16)] | None = None
    """Height and width of the images in pixels; null for the model's default."""

    licence: str | None = None
    """Of the weights, as their publisher states it."""

    @property
    def weights(self) -> str:
        """The name of the weights: a tag, a file, or the model itself."""
        return self.model


def model_folder(model: str, root: Path) -> Path | None:
    """The folder of a model that is one: `local-dir:` counts from the project `root`, `package:` from `PACKAGE`; else None.

    Raises:
        NolaError: it does not exist.
    """
    kind, _, name = model.partition(":")
    places = {"local-dir": root, "package": PACKAGE}
    if kind not in places:
        return None
    folder = places[kind] / name
    if not folder.is_dir():
        raise NolaError(f"model '{model}': the folder {folder} does not exist.")
    return folder


class ClipSpec(Spec):
    """An open_clip model, or a dual encoder from another source; see pairs.yaml."""

    pretrained: str | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    """What its logits are divided by in the probabilities that text methods show; null: nothing is known, so 1."""

    @property
    def weights(self) -> str:
        return self.pretrained or self.model


class SslSpec(Spec):
    """A timm model, or an image encoder from another source; see pairs.yaml."""

    checkpoint: str | None = None

    @property
    def weights(self) -> str:
        return self.checkpoint or self.model


class Pair(Section):
    """The two backbones of a run."""

    clip: ClipSpec
    ssl: SslSpec


def load_pair(choice: str | Mapping[str, Any], *, path: Path = PAIRS) -> Pair:
    """The pair that a data set uses.

    Args:
        choice: the name of a pair; two model names as `CLIP+SSL`; or a mapping with `clip` and `ssl`, each the name of a model or
            a mapping of its keys.

    Raises:
        NolaError: the pair or model does not exist, or an entry has an unknown or missing key.
    """
    known = read_yaml(path)
    source = "backbones"
    if isinstance(choice, str):
        source = f"{path.name}: {choice}"
        clip, plus, ssl = choice.partition("+")
        models: dict[str, Any] = {"clip": clip.strip(), "ssl": ssl.strip()} if plus else _entry(known, "pairs", choice, path)
    else:
        models = dict(choice)
    for role in Pair.model_fields:
        if isinstance(models.get(role), str):
            models[role] = _entry(known, role, models[role], path)
    return validate(Pair, models, source=source)


def _entry(known: Mapping[str, Any], kind: str, name: str, path: Path) -> dict[str, Any]:
    entries = known[kind]
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(entries)}"
        what = "backbone pair" if kind == "pairs" else f"{kind} model"
        raise NolaError(f"{path.name} has no {what} '{name}'; {hint}")
    return dict(entries[name])
