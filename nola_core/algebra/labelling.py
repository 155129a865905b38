"""TURTLE's search for a labelling that linear classifiers learn easily in every space, anchored to the text's posterior.

Outer: heads T_s give soft labels tau = mean_s a(T_s z_s). Inner: in every space a new linear classifier W_s takes a few steps of
Adam on the cross-entropy with tau. The heads then move to where sum_s CE(W_s z_s, tau) is lower, while the mean of tau stays near
given class proportions and, at first, tau near the text's posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nola_core.algebra.proportions import estimated
from nola_core.device import one_thread

TINY = 1e-8
"""Smallest probability that a logarithm is taken of."""
Activation = Callable[[Tensor], Tensor]
Balance = Literal["estimated", "uniform", "power_law"]


def softmax(logits: Tensor) -> Tensor:
    """Rows of float32 [B, C] as distributions."""
    return logits.softmax(dim=1)


def sparsemax(logits: Tensor) -> Tensor:
    """The nearest distribution to every row of float32 [B, C]: small entries become 0 (Martins and Astudillo, ICML 2016)."""
    ordered = logits.sort(dim=1, descending=True).values
    sums = ordered.cumsum(dim=1)
    places = torch.arange(1, logits.shape[1] + 1, dtype=logits.dtype)
    support = (1 + places * ordered > sums).sum(dim=1, keepdim=True)
    threshold = (sums.gather(1, support - 1) - 1) / support
    return (logits - threshold).clamp_min(0)


@dataclass(frozen=True)
class Search:
    """How to search.

    Attributes:
        steps: outer steps.
        inner_steps: of each new classifier.
        batch_size: images an outer step, at most N.
        learning_rate, inner_learning_rate: of Adam.
        balance_weight: gamma, of the divergence of mean tau from the class proportions.
        anchor: weight of KL(text's posterior || tau) at first; it falls linearly to 0 in the last step.
        balance: which proportions: estimated from the text's posterior by EM; uniform, which makes the term the paper's entropy;
            or power_law, which holds the sorted proportions against 1/rank^`exponent` (PET-TURTLE).
        sparse: sparsemax instead of softmax in the heads (PET-TURTLE).
    """

    steps: int
    inner_steps: int
    batch_size: int
    learning_rate: float
    inner_learning_rate: float
    balance_weight: float
    anchor: float
    balance: Balance
    exponent: float
    sparse: bool
    seed: int

    @property
    def activation(self) -> Activation:
        """What makes soft labels of logits."""
        return sparsemax if self.sparse else softmax


@dataclass(frozen=True)
class Head:
    """A labelling head T_s: what stands fixed, and a linear part that is learnt.

    Attributes:
        features: float32 [N, k], rows of length about sqrt(k).
        weights, bias: float32 [C, k] and [C].
        base: float32 [N, C], logits that are added: the text's. None: none.
    """

    features: Tensor
    weights: Tensor
    bias: Tensor
    base: Tensor | None = None

    def logits(self, rows: Tensor) -> Tensor:
        """Of some images, float32 [B, C]."""
        linear = torch.addmm(self.bias, self.features[rows], self.weights.T)
        return linear if self.base is None else linear + self.base[rows]


def search(heads: Mapping[str, Head], given: Tensor, options: Search) -> None:
    """Move the heads, in place.

    Args:
        heads: space -> head.
        given: the text's posterior, float32 [N, C].
    """
    count, classes = given.shape
    proportions = torch.full((classes,), 1 / classes)
    if options.balance == "estimated":
        proportions = estimated(given, pull=0.1)
    if options.balance == "power_law":
        proportions = torch.arange(1, classes + 1).float().pow(-options.exponent)
        proportions = proportions / proportions.sum()
    parameters = [tensor.requires_grad_() for head in heads.values() for tensor in (head.weights, head.bias)]
    optimizer = torch.optim.Adam(parameters, lr=options.learning_rate)
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.empty(0, dtype=torch.int64)
    with one_thread():
        for step in range(options.steps):
            if len(order) < min(count, options.batch_size):
                order = torch.randperm(count, generator=generator)
            batch, order = order[: options.batch_size], order[options.batch_size :]
            tau = torch.stack([options.activation(head.logits(batch)) for head in heads.values()]).mean(dim=0)
            learnt = tau.detach()
            loss = torch.zeros(())
            for head in heads.values():
                z = head.features[batch]
                weights, bias = fitted(z, learnt, steps=options.inner_steps, learning_rate=options.inner_learning_rate)
                loss = loss - (tau * torch.addmm(bias, z, weights.T).log_softmax(dim=1)).sum(dim=1).mean()
            mean = tau.mean(dim=0)
            if options.balance == "power_law":
                mean = mean.sort(descending=True).values
            loss = loss + options.balance_weight * divergence(mean, proportions)
            anchor = options.anchor * (1 - step / max(1, options.steps - 1))
            if anchor > 0:
                loss = loss + anchor * divergence(given[batch], tau)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for tensor in parameters:
        tensor.requires_grad_(False)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of two distributions, or the mean over rows; q counts as at least `TINY`."""
    return (p * (p.clamp_min(TINY).log() - q.clamp_min(TINY).log())).sum(dim=-1).mean()


def fitted(features: Tensor, targets: Tensor, *, steps: int, learning_rate: float) -> tuple[Tensor, Tensor]:
    """A linear classifier after some full-batch steps of Adam from zero on the cross-entropy with soft targets.

    Args:
        features: float32 [B, k].
        targets: float32 [B, C], rows sum to 1.

    Returns:
        float32 [C, k] and [C].
    """
    rows = torch.cat([features, torch.ones(len(features), 1)], dim=1)  # the last column is the bias
    weights = torch.zeros(targets.shape[1], rows.shape[1])
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(1, steps + 1):
        gradient = ((rows @ weights.T).softmax(dim=1) - targets).T @ rows / len(rows)
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        corrected = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
        weights.addcdiv_(first, corrected, value=-learning_rate / (1 - 0.9**step))
    return weights[:, :-1].contiguous(), weights[:, -1].contiguous()
