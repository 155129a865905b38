"""Anchored LDA-EM against its five steps in loops, and where text and structure disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, root

from nola_core.methods.lda_em import METHOD, calibrated
from tests.methods.checks import answers, check_contract
from tests.methods.made import Made, blobs, softmax


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def slow_f1(made: Made, *, first: float, last: float, iterations: int) -> np.ndarray:
    """F1 of our notes, step by step, with v found by a root finder."""
    g, logits = made.g, made.logits
    count, classes = logits.shape
    a = g - g.mean(axis=0)
    a = a @ np.linalg.svd(a, full_matrices=False)[2].T
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    a /= np.sqrt(a.var(axis=0).mean())
    cosines = a @ a.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(a, axis=1))
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :10]
    w = np.zeros((count, count))
    for i in range(count):
        w[i, near[i]] = softmax(cosines[i, near[i]][None] / 0.1)[0]
    zero_shot = logits.argmax(axis=1)
    ballots = 1 + np.arange(10, 0, -1) / 10_000  # among equally many votes the nearer ones decide
    votes = np.array([np.bincount(zero_shot[row], ballots, minlength=classes) for row in near])
    agreement = np.mean([votes[i].argmax() == zero_shot[i] for i in range(count)])
    logits = logits / brentq(lambda t: softmax(logits / t).max(axis=1).mean() - agreement, 0.05, 100)
    y = softmax(logits)
    z = y
    for _ in range(5):
        z = 0.8 * w @ z + 0.2 * y
    pi = z.mean(axis=0)
    for weight in np.linspace(first, last, iterations):
        n = z.sum(axis=0)
        means = (z.T @ a + a.mean(axis=0)) / (n + 1)[:, None]
        within = sum(z[i, c] * np.outer(a[i] - means[c], a[i] - means[c]) for i in range(count) for c in range(classes)) / count
        s = 0.9 * within + 0.1 * np.trace(within) / a.shape[1] * np.eye(a.shape[1])
        inverse = np.linalg.inv(s)
        d = a @ inverse @ means.T - np.array([m @ inverse @ m for m in means]) / 2
        v = root(lambda v: softmax(logits + v).mean(axis=0) - pi + v.mean(), np.zeros(classes)).x  # noqa: B023
        z = softmax(logits + v + d + weight * w @ z)
        pi = 0.98 * z.mean(axis=0) + 0.02 / classes
    return z


@pytest.mark.parametrize(("first", "last"), [(20.0, 5.0), (5.0, 5.0)])
def test_it_is_its_five_steps_in_loops(first: float, last: float) -> None:
    made = blobs(60, noise=0.35, text_noise=0.5, seed=4)
    _, found = answers(METHOD, made, iterations=10, graph_first=first, graph_last=last)
    assert np.allclose(found, slow_f1(made, first=first, last=last, iterations=10), atol=5e-3)


def test_em_recovers_the_mixture_that_the_text_only_half_knows() -> None:
    made = blobs(300, noise=0.1, text_noise=0.5, seed=29)
    assert made.accuracy(torch.from_numpy(made.logits)) < 0.85
    assert [made.accuracy(rows) for rows in answers(METHOD, made)] == [1, 1]


def test_the_temperature_is_that_of_the_neighbours_agreement() -> None:
    logits = 4 * torch.eye(2)[torch.tensor([0, 0, 0, 1])]
    near = torch.tensor([[1, 2], [2, 0], [0, 1], [0, 1]])  # the votes confirm three of four
    confidence = (logits / calibrated(logits, near)).softmax(dim=1).amax(dim=1).mean()
    assert float(confidence) == pytest.approx(0.75, abs=1e-3)
    assert calibrated(logits[:1], torch.empty(1, 0, dtype=torch.int64)) == 1
