"""Products whose rows have the same bits wherever in a batch they stand, and from a file as from memory.

A BLAS picks its kernels by the layout of the matrices, and by where a row begins in memory: with 10 columns every other row is
off a vector's boundary, and is summed in another order. Here the weights are always rows of their own, and rows have a multiple
of 16 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

VECTOR = 16
"""Numbers of float32 in 64 bytes."""


def product(features: Tensor, weights: Tensor) -> Tensor:
    """X W^T, float32 [B, C], of features [B, d] and weights [C, d], contiguous in memory."""
    short = -features.shape[1] % VECTOR
    return pad(features, (0, short)) @ pad(weights, (0, short)).T if short else features @ weights.T


def weighted_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """sum_k weights[b, k] rows[b, k], float32 [B, C], of [B, k, C] and [B, k]."""
    return (weights[:, :, None] * rows).sum(dim=1)


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in one layout: what a fitted method computes with, whether it was just fitted or comes from a file."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
