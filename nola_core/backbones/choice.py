"""The pair of backbones that this machine can use, where the user named none."""

from __future__ import annotations

from collections.abc import Sequence

from nola_core.backbones.check import check_pair
from nola_core.backbones.pairs import load_pair
from nola_core.errors import NolaError

ORDER = ("paper", "offline")
"""The best known first; the last one needs no model hub."""


def working(order: Sequence[str] = ORDER) -> tuple[str, str]:
    """The first pair that can work here, and why the ones before it cannot; nothing is built or downloaded.

    Raises:
        NolaError: none can.
    """
    reasons = []
    for name in order:
        try:
            check_pair(load_pair(name))
        except NolaError as error:
            reasons.append(f"{name}: {error}")
            continue
        return name, " ".join(reasons)
    raise NolaError(f"no pair of backbones can be used here; choose one with --backbones. {' '.join(reasons)}")
