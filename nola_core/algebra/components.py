"""The principal components of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra.blocks import Blocks
from nola_core.algebra.rowwise import gram, product


@dataclass(frozen=True)
class Components:
    """Centres, projects on the principal components, and L2-normalises.

    Attributes:
        mean: float32 [d].
        basis: float32 [k, d], orthonormal rows; zeros where all images are equal, since then nothing tells them apart.
    """

    mean: Tensor
    basis: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """float32 [B, k] of features float32 [B, d]."""
        return normalize(product(features - self.mean, self.basis), dim=1)

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
        total = torch.zeros(blocks.dim, dtype=torch.float64)
        for _, block in blocks:
            total += block.sum(dim=0).double()
        mean = (total / len(blocks)).float()
        scatter = torch.zeros(blocks.dim, blocks.dim, dtype=torch.float64)
        for (
            _,
            block,
        ) in blocks:  # a second pass: what is left of X^T X less the mean's would be float32's rounding for similar images
            away = block - mean
            scatter += gram(away).double()
        values, vectors = torch.linalg.eigh(scatter / len(blocks))
        spanned = int((values > 1e-6 * values[-1].clamp_min(1e-4)).sum())
        kept = max(1, min(count, spanned, len(blocks) - 1))
        basis = vectors[:, -kept:].flip(1).T.float().contiguous()
        return cls(mean, basis if spanned else torch.zeros_like(basis))
