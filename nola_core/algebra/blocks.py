"""The features of a collection in one space, block by block: a large one is read again in every pass, a small one is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nola_core.errors import NolaError
from nola_core.methods.collection import Collection, Space

ROWS = 8192
"""Rows at a time."""
KEPT = 1 << 30
"""Bytes of float32 features up to which a space is kept in memory; above, every pass reads it again."""


class Blocks:
    """The L2-normalised rows of a space.

    Args:
        space: N >= 1 images.
        name: of the space, for messages.
        kept: bytes of float32 features up to which they stay in memory.

    Raises:
        NolaError: there is no image, or a feature is not finite.
    """

    def __init__(self, space: Space, *, name: str = "the space", kept: int = KEPT) -> None:
        self.space, self.name = space, name
        self._kept: Tensor | None = None
        if 4 * len(space) * space.dim <= kept:
            self._kept = torch.empty(len(space), space.dim)
        for rows, block in checked(space, name=name):
            if self._kept is not None:
                self._kept[rows] = block

    def __len__(self) -> int:
        return len(self.space)

    @property
    def dim(self) -> int:
        """D."""
        return self.space.dim

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """(which rows, float32 [n, d]) of all images in order."""
        for start in range(0, len(self), ROWS):
            rows = slice(start, min(start + ROWS, len(self)))
            yield rows, self.space.block(rows.start, rows.stop) if self._kept is None else self._kept[rows]

    def rows(self, images: np.ndarray) -> Tensor:
        """Some images by number, float32 [n, d]."""
        return self.space.rows(images) if self._kept is None else self._kept[torch.from_numpy(images)]

    @property
    def large(self) -> bool:
        """Whether it is read anew in every pass."""
        return self._kept is None

    def array(self) -> np.ndarray:
        """All rows, [N, d]: float32 of unit length, or of a large space float16 as they lie in their file."""
        if self._kept is not None:
            return self._kept.numpy()
        return self.space.features if self.space.places is None else self.space.features[self.space.places]

    def map(self, compute: Callable[[Tensor], Tensor], width: int) -> Tensor:
        """`compute` of every block, float32 [N, width]."""
        out = torch.empty(len(self), width)
        for rows, block in self:
            out[rows] = compute(block)
        return out

    def weighted_sum(self, weights: Tensor, of: Callable[[Tensor], Tensor] = lambda block: block) -> Tensor:
        """sum_i weights[i, c] of(x_i), float64 [C, d]; a block is summed in float32, the blocks in float64."""
        total = torch.zeros(weights.shape[1], self.dim, dtype=torch.float64)
        for rows, block in self:
            total += (weights[rows].T @ of(block)).double()
        return total


def checked(space: Space, *, name: str) -> Iterator[tuple[slice, Tensor]]:
    """(which rows, float32 [n, d], L2-normalised) of all images of a space, in order.

    Raises:
        NolaError: there is no image, or a feature is not finite.
    """
    if not len(space):
        raise NolaError("there is no image to fit a method on; add images, or look at what prepare left out.")
    for start in range(0, len(space), ROWS):
        block = space.block(start, start + ROWS)
        bad = ~torch.isfinite(block.sum(dim=1))  # of rows of length 1 every finite sum is small
        if bad.any():
            row = start + int(bad.nonzero()[0, 0])
            raise NolaError(f"the {name} features of image {row} are not finite; run embed again and look at its model.")
        yield slice(start, start + len(block)), block


def chosen(collection: Collection, spaces: Sequence[str]) -> dict[str, Blocks]:
    """The spaces that a method's options name, by name in alphabetical order, so that every sum over them has one order.

    Raises:
        NolaError: the collection has no such space; see also `Blocks`.
    """
    for name in spaces:
        if name not in collection.spaces:
            raise NolaError(f"there are no features of the space '{name}'; choose from {', '.join(sorted(collection.spaces))}.")
    return {name: Blocks(collection.spaces[name], name=name) for name in sorted(set(spaces))}


def of(features: Tensor, *, name: str = "the space") -> Blocks:
    """A tensor [N, d] as a space of its own."""
    return Blocks(Space(features.numpy()), name=name)
