"""The evidence-weighted discriminant: the text alone, a perfect and a random second space, and a slow oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from nola_core.methods.collection import Space
from nola_core.methods.evidence import METHOD, Weighted
from tests.methods.checks import answers, check_contract, check_predictions, fit
from tests.methods.made import Made, blobs, softmax


def weights(made: Made, **options: Any) -> dict[str, float]:
    fitted = fit(METHOD, made, **options)
    assert isinstance(fitted, Weighted)
    return fitted.weights


def with_second_space(made: Made, features: torch.Tensor) -> Made:
    spaces = {**made.collection.spaces, "ssl": Space(normalize(features, dim=1).half().numpy())}
    return Made(replace(made.collection, spaces=spaces), made.labels)


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)
    check_predictions(METHOD, tmp_path / "evidence.safetensors", spaces=["ssl", "clip"])


def test_without_weight_it_is_the_text() -> None:
    made = blobs(100, noise=0.4, text_noise=0.5)
    for found in answers(METHOD, made, weight=0.0):
        assert np.allclose(found, softmax(made.logits), atol=1e-5)


def test_a_random_second_space_has_no_weight_and_changes_nothing() -> None:
    made = blobs(400, noise=0.15, text_noise=0.3)
    random = with_second_space(made, torch.randn(400, 10, generator=torch.Generator().manual_seed(3)))
    assert sum(weights(random).values()) < 0.05
    text = torch.from_numpy(made.logits)
    for found in answers(METHOD, random):
        assert random.accuracy(found) >= made.accuracy(text) - 0.01


def test_a_perfect_second_space_has_almost_all_and_mends_the_text() -> None:
    made = blobs(400, noise=0.1, text_noise=0.6, seed=29)
    assert made.accuracy(torch.from_numpy(made.logits)) < 0.9
    assert weights(made)["ssl"] > 0.9
    assert [made.accuracy(found) for found in answers(METHOD, made)] == [1, 1]


def test_three_images_a_class_count_half() -> None:
    many, few = (weights(blobs(images, noise=0.1, text_noise=0.1), weight=None)["ssl"] for images in (400, 12))
    assert few < 0.6 < 0.9 < many


def test_the_weights_of_several_spaces_sum_to_one_at_most() -> None:
    made = blobs(400, noise=0.1)
    assert sum(weights(made, spaces=["clip", "ssl"]).values()) == pytest.approx(1)


def test_it_is_the_same_whatever_the_seed() -> None:
    made = blobs(80)
    one, other = (METHOD.fit(made.collection, options=METHOD.section(), seed=seed).tensors() for seed in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_is_its_formula() -> None:
    """Weight 1/2, no graph, one iteration, no smoothing over neighbours to speak of: D of the text's posterior, by hand."""
    made = blobs(60, noise=0.35, text_noise=0.5, seed=4)
    fitted = fit(METHOD, made, weight=0.5, graph=0.0, iterations=1, calibration="none")
    tensors = fitted.tensors()
    a = made.g - made.g.mean(axis=0)
    a = a @ tensors["ssl.basis"].double().numpy().T
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    scores = made.logits + tensors["biases"].double().numpy()
    scores += a @ tensors["ssl.weights"].double().numpy().T + tensors["ssl.bias"].double().numpy()
    assert fitted.transduced is not None
    assert np.allclose(fitted.transduced, softmax(scores), atol=1e-4)
    z = softmax(made.logits)
    cosines = a @ a.T
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :10]
    edges = np.zeros((60, 60))
    for i in range(60):
        edges[i, near[i]] = softmax(cosines[i, near[i]][None] / 0.1)[0]
    for _ in range(5):
        z = 0.4 * edges @ z + 0.6 * softmax(made.logits)
    n = z.sum(axis=0)
    means = (z.T @ a + a.mean(axis=0)) / (n + 1)[:, None]
    within = sum(z[i, c] * np.outer(a[i] - means[c], a[i] - means[c]) for i in range(60) for c in range(4)) / 60
    least = max(0.1, a.shape[1] / (60 + a.shape[1]))
    covariance = (1 - least) * within + least * np.trace(within) / a.shape[1] * np.eye(a.shape[1])
    d = a @ np.linalg.solve(covariance, means.T) - np.einsum("cd,dc->c", means, np.linalg.solve(covariance, means.T)) / 2
    mine = a @ tensors["ssl.weights"].double().numpy().T + tensors["ssl.bias"].double().numpy()
    assert np.allclose(mine - mine.mean(axis=1, keepdims=True), 0.5 * (d - d.mean(axis=1, keepdims=True)), atol=2e-3)
    assert np.allclose(softmax(made.logits + tensors["biases"].double().numpy() / 0.5).mean(axis=0), z.mean(axis=0), atol=2e-3)
