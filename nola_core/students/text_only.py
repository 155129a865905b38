"""A classifier of images that was trained on texts alone: CLIP puts both into one space (LaFTer, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nola_core.methods.collection import Space

BETAS = (0.9, 0.999)
BATCH = 16384
"""Texts a step at most; LaFTer takes all in every step, and so does this up to here."""
BLOCK = 8192  # images whose answers are computed at a time


def train(
    features: Tensor,
    classes: Tensor,
    count: int,
    *,
    noise: float,
    smoothing: float,
    steps: int,
    learning_rate: float,
    seed: int,
) -> Tensor:
    """Train a linear classifier without biases on text features, with fresh Gaussian noise in every step.

    Label-smoothed cross-entropy, AdamW without decay, logits without a temperature. A class without a text keeps its start.

    Args:
        features: float32 [T, d], L2-normalised.
        classes: int64 [T], the class of each text.
        count: C.
        noise: standard deviation of what is added to every component.
        smoothing: in [0, 1).
        seed: of the start, the noise, and the choice where there are more than `BATCH` texts.

    Returns:
        float32 [C, d], not normalised.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = features.shape[1] ** -0.5
    weights = nn.Parameter((2 * torch.rand(count, features.shape[1], generator=generator) - 1) * bound)
    optimizer = torch.optim.AdamW([weights], lr=learning_rate, betas=BETAS, weight_decay=0.0)
    for _ in range(steps):
        rows = torch.randperm(len(features), generator=generator)[:BATCH] if len(features) > BATCH else slice(None)
        some = features[rows]
        noisy = some + noise * torch.randn(some.shape, generator=generator)
        optimizer.zero_grad()
        cross_entropy(noisy @ weights.T, classes[rows], label_smoothing=smoothing).backward()
        optimizer.step()
    return weights.detach()


def answers(images: Space, weights: Tensor) -> Tensor:
    """The class of the largest product with each image's feature, int64 [N]."""
    starts = range(0, len(images), BLOCK)
    return torch.cat([(images.block(start, min(start + BLOCK, len(images))) @ weights.T).argmax(dim=1) for start in starts])
