"""ZLaP against the dense solution, and a new image against the graph it would be added to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nola_core.methods.collection import probabilities
from nola_core.methods.zlap import METHOD
from tests.methods.checks import answers, check_contract, fit
from tests.methods.made import Made, blobs


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def dense_graph(made: Made) -> np.ndarray:
    """Texts first, then images: 5 edges to images, 5 to texts with cosines to the fifth, the larger of both directions."""
    texts = made.collection.text.weights.double().numpy()  # type: ignore[attr-defined]
    classes, count = len(texts), len(made.x)
    w = np.zeros((classes + count, classes + count))
    images, to_texts = made.x @ made.x.T, made.x @ texts.T
    np.fill_diagonal(images, -2)
    for i in range(count):
        for j in np.argsort(-images[i])[:5]:
            w[classes + i, classes + j] = max(images[i, j], 0)
        for c in np.argsort(-to_texts[i])[:5]:
            w[classes + i, c] = max(to_texts[i, c], 0) ** 5
    return np.maximum(w, w.T)


@pytest.mark.parametrize(("classes", "alpha"), [(4, 0.3), (9, 0.9)])
def test_it_is_the_dense_solution(classes: int, alpha: float) -> None:
    made = blobs(60, classes, noise=0.3, text_noise=0.3)
    w = dense_graph(made)
    root = 1 / np.sqrt(w.sum(axis=1))
    solved = np.linalg.inv(np.eye(len(w)) - alpha * root[:, None] * w * root)[classes:, :classes]
    assert np.allclose(answers(METHOD, made, alpha=alpha)[1], solved / solved.sum(axis=1, keepdims=True), atol=1e-3)


def test_an_image_is_offered_what_its_neighbours_and_texts_have() -> None:
    """One propagation step of the paper: a new image's row of W, times the solution."""
    made = blobs(60, noise=0.3, text_noise=0.3)
    w, new = dense_graph(made), blobs(90, noise=0.3, text_noise=0.3).taken(torch.arange(60, 90))
    root = 1 / np.sqrt(w.sum(axis=1))
    solved = np.linalg.inv(np.eye(len(w)) - 0.3 * root[:, None] * w * root)[:, :4]
    texts = made.collection.text.weights.double().numpy()  # type: ignore[attr-defined]
    slow = np.zeros((30, 4))
    for i, image in enumerate(new.x):
        near, words = made.x @ image, texts @ image
        for j in np.argsort(-near)[:5]:
            slow[i] += max(near[j], 0) * root[4 + j] * solved[4 + j]
        for c in np.argsort(-words)[:5]:
            slow[i] += max(words[c], 0) ** 5 * root[c] * solved[c]
    found = probabilities(fit(METHOD, made), new.features)
    assert np.allclose(found, slow / slow.sum(axis=1, keepdims=True), atol=5e-3)  # anchors are float16
