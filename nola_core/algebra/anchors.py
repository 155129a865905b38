"""Fitted images kept for prediction: a new image is answered by its neighbours among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nola_core.algebra.blocks import Blocks
from nola_core.algebra.rowwise import product, weighted_sum


@dataclass(frozen=True)
class Anchors:
    """Some fitted images in one space, and what was found for them.

    Attributes:
        features: float16 [A, d], unit rows.
        answers: [A, C]; float16 is enough for probabilities.
    """

    features: Tensor
    answers: Tensor

    @classmethod
    def of(cls, blocks: Blocks, answers: Tensor, *, images: Tensor) -> Anchors:
        """Some images by number, int64 [A], with their rows of `answers`, [N, C]."""
        return cls(blocks.rows(images.numpy()).half(), answers[images])

    @cached_property
    def _wide(self) -> Tensor:
        """The features in float32."""
        return self.features.float()

    def nearest(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The anchors with the largest cosines.

        Args:
            features: float32 [B, d], unit rows.
            k: at most A are returned.

        Returns:
            Cosines float32 [B, k] in falling order, and anchors int64 [B, k].
        """
        return product(features, self._wide).topk(min(k, len(self.features)), dim=1)

    def mean(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the anchors' answers, float32 [B, C]. Both [B, k]."""
        return weighted_sum(self.answers[rows].float(), weights)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """By names that begin with `name`."""
        return {f"{name}.features": self.features, f"{name}.answers": self.answers}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], name: str) -> Anchors:
        """From `tensors`."""
        return cls(tensors[f"{name}.features"], tensors[f"{name}.answers"])


def drawn(count: int, most: int, *, seed: int) -> Tensor:
    """`most` of `count` images at random, or all of them, in order. int64 [A]."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values
