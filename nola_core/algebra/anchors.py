"""Fitted images kept for prediction: a new image is answered by its neighbours among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nola_core.algebra.blocks import Blocks
from nola_core.algebra.rowwise import dots, gram, largest, product, weighted_sum

DIRECTIONS = 64
"""Principal directions in which many anchors are searched first."""
MANY = 4096
"""Anchors from which on they are, if they are a sample and have more than twice as many dimensions."""
SPARE = 20
"""Anchors found there beyond twice those asked for; all are compared again by their exact cosines."""


@dataclass(frozen=True)
class Anchors:
    """Some fitted images in one space, and what was found for them.

    All anchors are compared with a new image. Where they are `MANY` of a still larger collection, they are compared in their
    principal directions, and the best of them as they are: nearly all of the nearest are found in a tenth of the time.

    Attributes:
        features: float16 [A, d], unit rows.
        answers: [A, C]; float16 is enough for probabilities.
        directions: float32 [64, d], orthonormal rows; None: all anchors are compared as they are.
    """

    features: Tensor
    answers: Tensor
    directions: Tensor | None = None

    @classmethod
    def of(cls, blocks: Blocks, answers: Tensor, *, images: Tensor) -> Anchors:
        """Some images by number, int64 [A], with their rows of `answers`, [N, C]."""
        rows = blocks.rows(images.numpy())
        searched = MANY <= len(images) < len(blocks) and blocks.dim > 2 * DIRECTIONS
        return cls(rows.half(), answers[images], principal(rows, DIRECTIONS) if searched else None)

    @cached_property
    def _wide(self) -> Tensor:
        """The features in float32."""
        return self.features.float()

    @cached_property
    def _short(self) -> Tensor:
        """The features in the principal directions, float32 [A, 64]."""
        assert self.directions is not None
        return product(self._wide, self.directions)

    def nearest(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The anchors with the largest cosines.

        Args:
            features: float32 [B, d], unit rows.
            k: at most A are returned.

        Returns:
            Cosines float32 [B, k] in falling order, and anchors int64 [B, k].
        """
        k = min(k, len(self.features))
        if self.directions is None:
            return largest(product(features, self._wide), k)
        _, some = largest(product(product(features, self.directions), self._short), min(2 * k + SPARE, len(self.features)))
        cosines = dots(features, some, self._wide.numpy())
        best = cosines.topk(k, dim=1)
        return best.values, some.gather(1, best.indices)

    def mean(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the anchors' answers, float32 [B, C]. Both [B, k]."""
        return weighted_sum(self.answers[rows].float(), weights)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """By names that begin with `name`."""
        directions = {} if self.directions is None else {f"{name}.directions": self.directions}
        return {f"{name}.features": self.features, f"{name}.answers": self.answers, **directions}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], name: str) -> Anchors:
        """From `tensors`."""
        return cls(tensors[f"{name}.features"], tensors[f"{name}.answers"], tensors.get(f"{name}.directions"))


def principal(rows: Tensor, count: int) -> Tensor:
    """The directions in which rows are longest, float32 [count, d], of rows float32 [A, d]."""
    _, vectors = torch.linalg.eigh(gram(rows).double())
    return vectors[:, -count:].flip(1).T.float().contiguous()


def drawn(count: int, most: int, *, seed: int) -> Tensor:
    """`most` of `count` images at random, or all of them, in order. int64 [A]."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values
