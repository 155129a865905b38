"""The temperature of logits."""

from __future__ import annotations

import math

from torch import Tensor

LOWEST, HIGHEST = 0.05, 100.0


def for_confidence(logits: Tensor, confidence: float, *, steps: int = 18) -> float:
    """T such that mean_i max softmax(logits_i / T) = confidence, by bisection; confidence falls as T rises.

    Args:
        logits: float32 [N, C].
        confidence: in [0, 1].
        steps: halvings of log T.

    Returns:
        T in [`LOWEST`, `HIGHEST`], the nearer end where no T there gives the confidence.
    """
    moved = logits - logits.amax(dim=1, keepdim=True)
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(steps):
        middle = (low + high) / 2
        if float((1 / (moved / math.exp(middle)).exp_().sum(dim=1)).mean()) > confidence:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
