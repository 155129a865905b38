"""Class proportions without labels, and the biases that give a posterior the proportions wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from nola_core.algebra.rowwise import column_sums

FLOOR = -60.0
"""Logits this far below a row's largest count as this far: exp of it is still a float32."""


def pulled(proportions: Tensor, pull: float) -> Tensor:
    """(1 - pull) proportions + pull / C."""
    return (1 - pull) * proportions + pull / len(proportions)


def estimated(
    posteriors: Tensor, *, base: Tensor | None = None, pull: float = 0.02, iterations: int = 100, tolerance: float = 1e-6
) -> Tensor:
    """Class proportions by the EM of Saerens, Latinne and Decaestecker (2002), with a pull to uniform.

    r_ic proportional to p_ic pi_c / base_c; pi = (1 - pull) mean_i r_i + pull / C. Consistent where the posteriors are calibrated
    for the proportions `base`.

    Args:
        posteriors: float32 [N, C], rows sum to 1.
        base: [C], the proportions that the posteriors assume, above 0; None: uniform.
        pull: in [0, 1]; 0 is plain EM.
        iterations: at most.
        tolerance: stop when no proportion moves by more.

    Returns:
        float32 [C], sum 1; above 0 where `pull` is.
    """
    count, classes = posteriors.shape
    base = torch.full((classes,), 1 / classes) if base is None else base
    proportions = torch.full((classes,), 1 / classes)
    for _ in range(iterations):
        ratio = proportions / base
        share = 1 / (posteriors @ ratio).clamp_min(torch.finfo(torch.float32).tiny)
        new = ratio * column_sums(share, posteriors) / count
        new = pulled(new / new.sum(), pull)
        moved = float((new - proportions).abs().max())
        proportions = new
        if moved <= tolerance:
            break
    return proportions


class Biases:
    """Finds biases v such that mean softmax(logits + v) has given class proportions.

    v is the column potential of Sinkhorn's algorithm with rows of mass 1/N and columns of the proportions. Logits more than
    `-FLOOR` below the largest of their row count as `-FLOOR` below, so that every class can be reached.

    Args:
        logits: float32 [N, C].
    """

    def __init__(self, logits: Tensor) -> None:
        self._kernel = (logits - logits.amax(dim=1, keepdim=True)).clamp_(min=FLOOR).exp_()

    def find(self, proportions: Tensor, start: Tensor | None = None, *, iterations: int = 50, tolerance: float = 1e-3) -> Tensor:
        """The biases.

        Args:
            proportions: [C], above 0, sum 1.
            start: biases to start from, such as the last ones; None: zeros.
            iterations: at most.
            tolerance: stop when the proportions are this close in total.

        Returns:
            float32 [C], of mean 0.
        """
        kernel = self._kernel
        biases = torch.zeros(kernel.shape[1]) if start is None else start.clone()
        for _ in range(iterations):
            factors = (biases - biases.max()).exp().clamp_min(torch.finfo(torch.float32).tiny)
            got = factors * column_sums(1 / (kernel @ factors), kernel) / len(kernel)
            if float((got - proportions).abs().sum()) <= tolerance:
                break
            biases = biases + proportions.log() - got.clamp_min(torch.finfo(torch.float32).tiny).log()
            biases = biases - biases.mean()
        return biases
