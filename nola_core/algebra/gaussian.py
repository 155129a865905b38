"""Gaussians of the classes: the weighted means of an M-step, shared and diagonal covariances, and discriminants.

Sums over images are made in blocks and added in float64. Within-class scatter comes from sums that no iteration changes:
sum_ic z_ic (x_i - mu_c)(x_i - mu_c)^T = X^T X - S^T mu - mu^T S + mu^T diag(n) mu, where S = Z^T X, n = Z^T 1, and every row of
Z sums to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra.blocks import Blocks
from nola_core.algebra.rowwise import gram, product


@dataclass(frozen=True)
class Moments:
    """Sums of a space over all images, made once.

    Attributes:
        count: N.
        total: float64 [d], the sum of all rows.
        scatter: float64 [d, d], X^T X; [d], its diagonal, where only that is needed.
    """

    count: int
    total: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, blocks: Blocks, *, diagonal: bool = False) -> Moments:
        """Of all images of a space."""
        total = torch.zeros(blocks.dim, dtype=torch.float64)
        scatter = torch.zeros((blocks.dim,) if diagonal else (blocks.dim, blocks.dim), dtype=torch.float64)
        for _, block in blocks:
            total += block.sum(dim=0).double()
            scatter += (block.square().sum(dim=0) if diagonal else gram(block)).double()
        return cls(len(blocks), total, scatter)

    def within(self, sums: Tensor, counts: Tensor, means: Tensor) -> Tensor:
        """The covariance within classes, weighted by Z, float64 [d, d], or its diagonal.

        Args:
            sums: float64 [C, d], Z^T X.
            counts: float64 [C], Z^T 1.
            means: float64 [C, d], what the deviations are from.
        """
        if self.scatter.ndim == 1:
            spread = self.scatter + (means * (counts[:, None] * means - 2 * sums)).sum(dim=0)
            return spread.clamp_min(0) / self.count
        cross = sums.T @ means
        return (self.scatter - cross - cross.T + means.T @ (counts[:, None] * means)) / self.count


def means(sums: Tensor, counts: Tensor, *, prior: Tensor, pseudo_count: float) -> Tensor:
    """(sums + pseudo_count prior) / (counts + pseudo_count), float64 [C, d]: a class without images has the prior's mean.

    Args:
        sums: float64 [C, d], Z^T X.
        counts: float64 [C], Z^T 1.
        prior: float64 [d] or [C, d].
        pseudo_count: above 0, in images.
    """
    return (sums + pseudo_count * prior) / (counts + pseudo_count)[:, None]


def shrunk(covariance: Tensor, shrinkage: float, *, floor: float = 1e-9) -> Tensor:
    """(1 - shrinkage) covariance + shrinkage (tr / d) I, with tr / d at least `floor`, so that it can always be inverted."""
    scale = (covariance.trace() / len(covariance)).clamp_min(floor)
    return (1 - shrinkage) * covariance + shrinkage * scale * torch.eye(len(covariance), dtype=covariance.dtype)


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminants x W^T + b.

    Attributes:
        weights: float32 [C, d].
        bias: float32 [C].
    """

    weights: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """float32 [B, C] of features float32 [B, d]."""
        return product(features, self.weights).add_(self.bias)

    def scaled(self, factor: float) -> Discriminant:
        """Times a factor."""
        return Discriminant(factor * self.weights, factor * self.bias)


def discriminant(covariance: Tensor, means: Tensor) -> Discriminant:
    """x^T S^-1 mu_c - 1/2 mu_c^T S^-1 mu_c: log N(x; mu_c, S) less what all classes share.

    Args:
        covariance: float64 [d, d], positive definite.
        means: float64 [C, d].
    """
    centre = means.mean(dim=0)  # W and b are differences from the classes' centre: smaller numbers, which float32 rounds less
    weights = torch.linalg.solve(covariance, (means - centre).T).T
    bias = -(weights * (means + centre)).sum(dim=1) / 2
    return Discriminant(weights.float().contiguous(), bias.float())


@dataclass(frozen=True)
class Diagonal:
    """Gaussians with diagonal covariances.

    Attributes:
        means: float32 [C, d].
        variances: float32 [d], shared, or [C, d].
    """

    means: Tensor
    variances: Tensor

    def log_density(self, features: Tensor) -> Tensor:
        """Log N(x; mu_c, var_c) less what all classes share, float32 [B, C].

        With a shared variance that is everything without mu_c, which would only cost digits.
        """
        precision = 1 / self.variances
        linear = product(features, self.means * precision) - (self.means.square() * precision).sum(dim=-1) / 2
        if self.variances.ndim == 1:
            return linear
        common = precision.mean(dim=0)  # likewise
        return linear - product(features.square(), precision - common) / 2 - self.variances.log().sum(dim=1) / 2


def confident(blocks: Blocks, posteriors: Tensor, images: int) -> Tensor:
    """L2-normalised mean of the images with each class's highest posteriors, float64 [C, d].

    Args:
        posteriors: float32 [N, C].
        images: how many a class, at most N.
    """
    best = posteriors.T.contiguous().topk(min(images, len(posteriors)), dim=1).indices
    return normalize(torch.stack([blocks.rows(rows.numpy()).double().mean(dim=0) for rows in best]), dim=1)
