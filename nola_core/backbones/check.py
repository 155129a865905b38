"""Whether a pair can work, known before anything long begins."""

from __future__ import annotations

from pathlib import Path

from nola_core.backbones.clip import check_clip
from nola_core.backbones.hub import Weights
from nola_core.backbones.pairs import Pair
from nola_core.backbones.ssl import check_ssl


def check_pair(pair: Pair, *, root: Path = Path()) -> dict[str, list[Weights]]:
    """Role -> the files its model needs and where they are. Builds and downloads nothing.

    Raises:
        NolaError: a model cannot be had or cannot work; the sentence says what to do.
    """
    return {"clip": check_clip(pair.clip, root=root), "ssl": check_ssl(pair.ssl, root=root)}
