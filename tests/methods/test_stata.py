"""StatA against its equations in loops, and with most classes absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nola_core.methods.stata import METHOD
from nola_core.text_classifier import TextClassifier
from tests.methods.checks import answers, check_contract, fit
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


def slow_stata(made: Made) -> np.ndarray:
    """The equations of METHODS with the densities in full, an image and a class at a time."""
    x, text = made.x, softmax(made.logits)
    (count, dim), classes = x.shape, text.shape[1]
    prototypes = made.collection.text.weights.double().numpy()  # type: ignore[attr-defined]
    means, variances, edges, z = prototypes, np.full((classes, dim), 1 / dim), neighbours(x, 3), text
    for _ in range(10):
        density = np.array(
            [[-(np.log(v) + (a - m) ** 2 / v).sum() / 2 for m, v in zip(means, variances, strict=True)] for a in x]
        )
        for _ in range(5):
            z = softmax(np.log(text) + (density + 50 / 6 * edges @ z) / 50)
        n = z.sum(axis=0)
        b = (n / (1 + n))[:, None]
        means = b * (z.T @ x / n[:, None]) + (1 - b) * prototypes
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        spread = np.array([sum(z[i, c] * (x[i] - means[c]) ** 2 for i in range(count)) / n[c] for c in range(classes)])
        variances = b * spread + (1 - b) * (1 / dim + (prototypes - means) ** 2)
    return z


def test_it_is_its_equations_in_loops() -> None:
    made = blobs(50, noise=0.3, text_noise=0.3)
    assert np.allclose(answers(METHOD, made)[1], slow_stata(made), atol=2e-3)


def test_classes_that_do_not_occur_stay_at_their_texts() -> None:
    made = blobs(90, 10, occurring=3, noise=0.1, text_noise=0.2)
    fitted = fit(METHOD, made)
    assert fitted.transduced is not None
    present = fitted.transduced.sum(dim=0)
    means, texts = fitted.tensors()["clip.means"], fitted.tensors()["text.weights"]
    for c in range(10):
        share = float(present[c] / (1 + present[c]))
        assert float(means[c] @ texts[c]) > 1 - share - 1e-3
    assert made.accuracy(fitted.transduced) > 0.95


def test_the_gaussians_start_at_the_direction_of_a_text_whatever_its_length() -> None:
    """Embeddings of `described` are means of unit vectors, so they are shorter than 1."""
    made = blobs(50, noise=0.3, text_noise=0.3)
    text = made.collection.text
    assert isinstance(text, TextClassifier)
    short = replace(made, collection=replace(made.collection, text=TextClassifier(text.weights / 2, text.logit_scale * 2)))
    for mine, theirs in zip(answers(METHOD, short), answers(METHOD, made), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
