"""The principal components of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra.blocks import Blocks
from nola_core.algebra.gaussian import Moments


@dataclass(frozen=True)
class Components:
    """Centres, projects on the principal components, and L2-normalises.

    Attributes:
        mean: float32 [d].
        basis: float32 [d, k], orthonormal columns; zeros where all images are equal, since then nothing tells them apart.
    """

    mean: Tensor
    basis: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """float32 [B, k] of features float32 [B, d]."""
        return normalize((features - self.mean) @ self.basis, dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {"mean": self.mean, "basis": self.basis}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor]) -> Components:
        """From `tensors`."""
        return cls(tensors["mean"], tensors["basis"])

    @classmethod
    def of(cls, blocks: Blocks, count: int) -> Components:
        """The first `count` of a space, at most as many as its images span."""
        moments = Moments.of(blocks)
        mean = moments.total / moments.count
        values, vectors = torch.linalg.eigh(moments.scatter / moments.count - torch.outer(mean, mean))
        spanned = int((values > 1e-6 * values[-1].clamp_min(1e-6)).sum())  # the rest is float32's rounding
        kept = max(1, min(count, spanned, moments.count - 1))
        basis = vectors[:, -kept:].flip(1).float().contiguous()
        return cls(mean.float(), basis if spanned else torch.zeros_like(basis))
