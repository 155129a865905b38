"""GDA-EM against EM in loops, and where the mixture is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nola_core.methods.gda_em import METHOD
from tests.methods.checks import answers, check_contract
from tests.methods.made import blobs, softmax


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def slow_em(x: np.ndarray, logits: np.ndarray, *, weight: float, iterations: int) -> np.ndarray:
    """The paper's equations, an image and a class at a time."""
    (count, dim), classes = x.shape, logits.shape[1]
    z = softmax(logits)
    for _ in range(iterations):
        n = z.sum(axis=0)
        means = np.array([sum(z[i, c] * x[i] for i in range(count)) + 1e-3 * x.mean(axis=0) for c in range(classes)])
        means /= (n + 1e-3)[:, None]
        s = np.zeros((dim, dim))
        for i in range(count):
            for c in range(classes):
                s += z[i, c] * np.outer(x[i] - means[c], x[i] - means[c]) / count
        few = min(count, dim + 1)
        precision = dim * np.linalg.inv((few - 1) * s + np.trace(s) * np.eye(dim))
        pi = 0.98 * n / n.sum() + 0.02 / classes
        bias = np.log(pi) - np.array([mean @ precision @ mean for mean in means]) / 2
        z = softmax(logits + weight * (x @ precision @ means.T + bias))
    return z


@pytest.mark.parametrize("images", [60, 9])
def test_it_is_em_in_loops(images: int) -> None:
    made = blobs(images, noise=0.3, text_noise=0.3)
    found, _ = answers(METHOD, made, iterations=3, weight=0.3)
    assert np.allclose(found, slow_em(made.x, made.logits, weight=0.3, iterations=3), atol=1e-3)


def test_em_recovers_the_mixture_that_the_text_only_half_knows() -> None:
    made = blobs(300, noise=0.1, text_noise=0.5, seed=29)
    assert made.accuracy(torch.from_numpy(made.logits)) < 0.85
    assert made.accuracy(answers(METHOD, made)[0]) == 1
    assert made.accuracy(answers(METHOD, made, spaces=["clip", "ssl"])[0]) == 1
