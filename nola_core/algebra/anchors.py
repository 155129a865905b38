"""Fitted images kept for prediction: a new image is answered by its neighbours among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nola_core.algebra.blocks import Blocks


@dataclass(frozen=True)
class Anchors:
    """Some fitted images in one space, and what was found for them.

    Attributes:
        features: float16 [A, d], unit rows.
        answers: float16 [A, C].
    """

    features: Tensor
    answers: Tensor

    @classmethod
    def of(cls, blocks: Blocks, answers: Tensor, *, images: Tensor) -> Anchors:
        """Some images by number, int64 [A], with their rows of `answers`, float32 [N, C]."""
        return cls(blocks.rows(images.numpy()).half(), answers[images].half())

    def nearest(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines float32 [B, k] in falling order and anchors int64 [B, k], at most A, of features float32 [B, d] of unit rows."""
        return (features @ self.features.float().T).topk(min(k, len(self.features)), dim=1)

    def mean(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the anchors' answers, float32 [B, C]. Both [B, k]."""
        return torch.bmm(weights[:, None, :], self.answers[rows].float()).squeeze(1)

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
