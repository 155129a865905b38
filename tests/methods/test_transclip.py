"""TransCLIP against its equations in loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nola_core.methods.transclip import METHOD
from tests.methods.checks import answers, check_contract
from tests.methods.made import Made, blobs, softmax


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """W + W^T of the k nearest cosines."""
    cosines = x @ x.T
    np.fill_diagonal(cosines, -2)
    w = np.zeros_like(cosines)
    for i, row in enumerate(cosines):
        for j in np.argsort(-row)[:k]:
            w[i, j] = max(row[j], 0)
    return w + w.T


def slow_transclip(made: Made, x: np.ndarray, *, weight: float) -> np.ndarray:
    """The equations of METHODS with the densities in full, an image and a class at a time."""
    (count, dim), text = x.shape, softmax(made.logits)
    means = np.array([x[np.argsort(-text[:, c], kind="stable")[:8]].mean(axis=0) for c in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    var, edges, z = np.full(dim, 1 / dim), neighbours(x, 3), text
    for _ in range(10):
        density = np.array([[-(np.log(2 * np.pi * var) + (a - m) ** 2 / var).sum() / 2 for m in means] for a in x])
        for _ in range(5):
            z = softmax(weight * np.log(text) + (density + 50 / 6 * edges @ z) / 50)
        means = z.T @ x / z.sum(axis=0)[:, None]
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        var = sum(z[i, c] * (x[i] - means[c]) ** 2 for i in range(count) for c in range(4)) / count
    return z


@pytest.mark.parametrize("space", ["clip", "ssl"])
def test_it_is_its_equations_in_loops(space: str) -> None:
    made = blobs(50, noise=0.3, text_noise=0.4)
    _, found = answers(METHOD, made, space=space, text_weight=0.5)
    slow = slow_transclip(made, made.x if space == "clip" else made.g, weight=0.5)
    assert np.allclose(found, slow, atol=2e-3)


def test_it_corrects_a_text_that_is_half_right() -> None:
    made = blobs(300, noise=0.1, text_noise=0.5, seed=29)
    assert made.accuracy(torch.from_numpy(made.logits)) < 0.85
    assert min(made.accuracy(rows) for rows in answers(METHOD, made, text_weight=0.1)) > 0.95
