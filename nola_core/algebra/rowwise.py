"""Products whose rows have the same bits wherever in a batch they stand, and from a file as from memory.

A BLAS picks its kernels by the layout of the matrices, and by where a row begins in memory: with 10 columns every other row is
off a vector's boundary, and is summed in another order. Here the weights are always rows of their own, and rows have a multiple
of 16 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

VECTOR = 16
"""Numbers of float32 in 64 bytes."""
GROUP = 16
"""Columns that `largest` looks at together."""
SUMMED = 8192
"""Rows that `column_sums` adds up in float32."""
CACHED = 64
"""Rows that `dots` takes at a time, so that what they are compared with stays in the cache."""


def product(features: Tensor, weights: Tensor) -> Tensor:
    """X W^T, float32 [B, C], of features [B, d] and weights [C, d], contiguous in memory."""
    short = -features.shape[1] % VECTOR
    return pad(features, (0, short)) @ pad(weights, (0, short)).T if short else features @ weights.T


def gram(rows: Tensor) -> Tensor:
    """X^T X, float32 [d, d]; numpy computes one half of it, torch both."""
    values = rows.numpy()
    return torch.from_numpy(values.T @ values)


def column_sums(weights: Tensor, rows: Tensor) -> Tensor:
    """sum_i weights[i] rows[i], float32 [C], of float32 [N] and [N, C].

    `weights @ rows` adds everything up in float32: of a million rows the fourth digit is wrong. Here blocks are, and float64
    adds the blocks.
    """
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for some, part in zip(weights.split(SUMMED), rows.split(SUMMED), strict=True):
        total += (some @ part).double()
    return total.float()


def weighted_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """sum_k weights[b, k] rows[b, k], float32 [B, C], of [B, k, C] and [B, k]."""
    return (weights[:, :, None] * rows).sum(dim=1)


def dots(features: Tensor, others: Tensor, table: np.ndarray) -> Tensor:
    """features[b] . table[others[b, k]], float32 [B, k]: the products with some rows of a table.

    Args:
        features: float32 [B, d].
        others: int64 [B, k].
        table: float32 or float16 [n, d]; may be a memory map.
    """
    out, asked, width = torch.empty(others.shape), features.numpy(), features.shape[1]
    for part in torch.arange(len(others)).split(CACHED):  # numpy does both four times as fast as torch
        some = table.take(others[part].reshape(-1).numpy(), axis=0)
        near = some if some.dtype == np.float32 else torch.from_numpy(some).float().numpy()
        products = np.matmul(near.reshape(len(part), -1, width), asked[part.numpy(), :, None])
        out[part] = torch.from_numpy(products[:, :, 0])
    return out


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` of every row of float32 [B, n], values and columns: the same, and faster where there are many columns.

    The k largest of a row lie in the k groups of columns with the largest maxima.
    """
    wide = scores.shape[1] // GROUP
    if 4 * k >= wide:
        best = scores.topk(k, dim=1)
        return best.values, best.indices
    groups = scores[:, : wide * GROUP].unflatten(1, (GROUP, wide)).amax(dim=1).topk(k, dim=1).indices
    places = (groups[:, :, None] + wide * torch.arange(GROUP)).flatten(1)
    rest = torch.arange(wide * GROUP, scores.shape[1])
    places = torch.cat([places, rest.expand(len(places), -1)], dim=1)
    best = scores.gather(1, places).topk(k, dim=1)
    return best.values, places.gather(1, best.indices)


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in one layout: what a fitted method computes with, whether it was just fitted or comes from a file."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
