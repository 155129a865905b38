"""Fewer dimensions for methods that iterate: principal components of a sample, and all images in them."""

from __future__ import annotations

from collections.abc import Callable
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
    def of(cls, blocks: Blocks, count: int, *, seed: int, change: Callable[[Tensor], Tensor] = lambda block: block) -> Reduced:
        """At most `count` components of a space, from at most `SAMPLE` images that are drawn.

        Args:
            change: makes of features [B, d] those that are reduced, unit rows again, row by row.
        """
        sample = change(blocks.rows(drawn(len(blocks), SAMPLE, seed=seed).numpy()))
        components = Components.of(Blocks(Space(sample.numpy()), name=blocks.name), count)
        return cls(components, blocks.map(lambda block: components(change(block)), len(components.basis)))
