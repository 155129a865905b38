"""Sinkhorn's algorithm: a matrix exp(scores / epsilon) scaled to given row and column sums.

Cuturi, Sinkhorn Distances, NeurIPS 2013; the absorption of large scalings into the kernel is Schmitzer's (Stabilized Sparse
Scaling Algorithms for Entropy Regularized Transport Problems, 2019, section 3). The potentials live in the log domain; the
iterations between two absorptions are plain products of a matrix with a vector, ten times faster than sums of exponentials.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nola_core.algebra.rowwise import column_sums

TINY, HUGE = 1e-25, 1e25
"""Bounds of a column's sum and of a scaling; beyond them float32 loses digits, and the potentials take them up."""


def plan(
    scores: Tensor, rows: Tensor, columns: Tensor, *, epsilon: float, iterations: int = 1000, tolerance: float = 0.0
) -> Tensor:
    """The plan of entropic optimal transport that maximises <plan, scores> + epsilon H(plan) with these marginals.

    Args:
        scores: float32 [N, C].
        rows: [N], the wanted row sums, above 0.
        columns: [C], the wanted column sums, at least 0, with the same total as `rows`.
        epsilon: above 0.
        iterations: at most; each scales the columns and then the rows.
        tolerance: stop when the column sums are this close to `columns`, relative to the total.

    Returns:
        float32 [N, C]. The row sums hold exactly, since rows are scaled last; the column sums hold in the limit.
    """
    rows, columns = rows.to(scores.dtype), columns.to(scores.dtype)
    used = columns > 0
    log_kernel = scores[:, used] / epsilon
    wanted = columns[used]
    column_potential = torch.zeros(len(wanted))
    kernel = _kernel(log_kernel, column_potential)
    across = torch.ones(len(wanted))  # what scales the columns since the last absorption
    down = rows / kernel.sum(dim=1)
    for _ in range(iterations):
        sums = column_sums(down, kernel)
        if tolerance and bool((sums * across - wanted).abs().sum() <= tolerance * wanted.sum()):
            break
        across = wanted / sums
        scaled = kernel @ across
        if not (sums.min() > TINY and across.max() < HUGE and scaled.min() > TINY and scaled.max() < HUGE):
            row_potential = rows.log() - torch.logsumexp(log_kernel + column_potential, dim=1)
            column_potential = wanted.log() - torch.logsumexp(log_kernel + row_potential[:, None], dim=0)
            kernel = _kernel(log_kernel, column_potential)
            across = torch.ones_like(across)
            scaled = kernel.sum(dim=1)
        elif across.max() > 1e5 or across.min() < 1e-5:
            column_potential = column_potential + across.log()
            kernel = _kernel(log_kernel, column_potential)
            across = torch.ones_like(across)
            scaled = kernel.sum(dim=1)
        down = rows / scaled
    result = torch.zeros_like(scores)
    result[:, used] = kernel * across * down[:, None]
    return result * (rows / result.sum(dim=1))[:, None]


def _kernel(log_kernel: Tensor, column_potential: Tensor) -> Tensor:
    """Exp of both, every row divided by its largest entry."""
    moved = log_kernel + column_potential
    return moved.sub_(moved.amax(dim=1, keepdim=True)).exp_()
