"""Backbone pairs: which two models a data set is run with."""

from __future__ import annotations

import difflib
from pathlib import Path

from nola_core.config import Section, read_yaml, validate
from nola_core.errors import NolaError

PAIRS = Path(__file__).parent / "pairs.yaml"


class ClipSpec(Section):
    """An open_clip model."""

    model: str
    pretrained: str | None
    sha256: str | None


class SslSpec(Section):
    """A timm model."""

    model: str
    checkpoint: str | None
    sha256: str | None


class Pair(Section):
    """The two backbones of a run."""

    clip: ClipSpec
    ssl: SslSpec


def load_pair(name: str, *, path: Path = PAIRS) -> Pair:
    """A pair by its name.

    Raises:
        NolaError: no such pair, or its entry has an unknown or missing key.
    """
    pairs = read_yaml(path)
    if name not in pairs:
        near = difflib.get_close_matches(name, pairs, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(pairs)}"
        raise NolaError(f"{path.name} has no backbone pair '{name}'; {hint}")
    return validate(Pair, pairs[name], source=f"{path.name}: {name}")
