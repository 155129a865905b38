"""Check that a pair of backbones can work, before any long computation."""

from __future__ import annotations

from pathlib import Path

from nola_core.backbones.clip import check_clip
from nola_core.backbones.hub import Weights
from nola_core.backbones.pairs import Pair, load_pair
from nola_core.backbones.ssl import check_ssl
from nola_core.config import load
from nola_core.datasets.definition import load_definition


def check_pair(pair: Pair, *, root: Path = Path()) -> dict[str, list[Weights]]:
    """Role -> the files that its model needs and where they are. Builds and downloads nothing.

    Raises:
        NolaError: a model is not available or cannot work; the message says what to do.
    """
    return {"clip": check_clip(pair.clip, root=root), "ssl": check_ssl(pair.ssl, root=root)}


def check_backbones(root: Path, dataset: str) -> None:
    """`check_pair` for the pair of a data set. Reports a missing model before the other one is used for hours.

    Raises:
        NolaError: see `check_pair`.
    """
    choice = load_definition(root, dataset).backbones or load(root).embed.backbones
    check_pair(load_pair(choice), root=root)
