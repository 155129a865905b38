"""Fewer dimensions for methods that iterate: principal components of a sample, and all images in them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nola_core.algebra.anchors import drawn
from nola_core.algebra.blocks import Blocks
from nola_core.algebra.components import Components
from nola_core.methods.collection import Space

SAMPLE = 20_000
"""Images that the components are found from."""


@dataclass(frozen=True)
class Reduced:
    """A space in its principal components.

    Attributes:
        components: what maps features to them.
        features: float32 [N, k], unit rows.
    """

    components: Components
    features: Tensor

    @classmethod
    def of(cls, blocks: Blocks, count: int, *, seed: int) -> Reduced:
        """At most `count` components of a space, from at most `SAMPLE` images that are drawn."""
        components = Components.of(_sample(blocks, seed=seed), count)
        return cls(components, blocks.map(components, len(components.basis)))


def _sample(blocks: Blocks, *, seed: int) -> Blocks:
    if len(blocks) <= SAMPLE:
        return blocks
    rows, space = drawn(len(blocks), SAMPLE, seed=seed).numpy(), blocks.space
    return Blocks(Space(space.features, rows if space.places is None else space.places[rows]), name=blocks.name)
