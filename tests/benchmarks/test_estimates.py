"""Every signal beside its plain formula, another implementation, or a case where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from benchmarks import estimates


def drawn(seed: int, images: int = 40, classes: int = 5, sharpness: float = 3.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(images, classes, generator=draw)).softmax(dim=1)


def blobs(seed: int = 0, images: int = 120, classes: int = 4, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    return normalize(torch.eye(classes, 8)[labels] + noise * torch.randn(images, 8, generator=draw), dim=1), labels


probabilities = st.builds(drawn, st.integers(0, 999), st.integers(3, 30), st.integers(2, 7), st.floats(0.1, 15))


def entropy(values: list[float]) -> float:
    return -sum(value * math.log(value) for value in values if value > 0)


@given(probabilities)
@settings(max_examples=30, deadline=None)
def test_scores_of_probabilities_equal_their_formulas(p: Tensor) -> None:
    count, classes = p.shape
    rows = p.double().tolist()
    assert estimates.mean_confidence(p) == pytest.approx(sum(map(max, rows)) / count)
    singular = np.linalg.svd(np.array(rows), compute_uv=False).sum()
    assert estimates.nuclear_norm(p) == pytest.approx(singular / math.sqrt(count * min(count, classes)), abs=1e-6)
    mean = np.array(rows).mean(axis=0).tolist()
    assert estimates.mean_prediction_entropy(p) == pytest.approx(entropy(mean) / math.log(classes), abs=1e-6)
    known = (entropy(mean) - sum(map(entropy, rows)) / count) / math.log(classes)
    assert estimates.infomax(p) == pytest.approx(known, abs=1e-6)
    mano = (sum(value**4 for row in rows for value in row) / (count * classes)) ** 0.25
    assert estimates.mano(p) == pytest.approx(mano, abs=1e-6)
    answers = p.argmax(dim=1)
    assert estimates.answer_nuclear_norm(answers, classes) == pytest.approx(
        estimates.nuclear_norm(one_hot(answers, classes).float())
    )
    density = 0.0
    for i, row in enumerate(rows):
        cosines = [np.dot(row, other) / np.linalg.norm(row) / np.linalg.norm(other) for other in rows[:i] + rows[i + 1 :]]
        weights = np.exp(np.array(cosines) / 0.05 - max(cosines) / 0.05)
        density += entropy((weights / weights.sum()).tolist()) / count / math.log(count - 1)
    assert estimates.neighborhood_density(p) == pytest.approx(density, abs=1e-4)


@given(probabilities, st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_transport_agrees_with_pot(p: Tensor, seed: int) -> None:
    count, classes = p.shape
    labels = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
    shares = torch.bincount(labels, minlength=classes).double() / count
    cost = (torch.eye(classes)[None] - p[:, None]).abs().sum(dim=2).double().numpy() / 2
    exact = 1 - ot.emd2(np.full(count, 1 / count), shares.numpy(), cost)
    assert estimates.transport_accuracy(p, shares) == pytest.approx(exact, abs=1e-5)


def test_transport_of_certain_answers_sees_only_their_proportions() -> None:
    certain = torch.eye(2)[[0, 0, 0, 1]]
    assert estimates.transport_accuracy(certain, torch.tensor([0.75, 0.25])) == pytest.approx(1, abs=1e-3)
    assert estimates.transport_accuracy(certain, torch.tensor([0.5, 0.5])) == pytest.approx(0.75, abs=1e-3)
    assert estimates.transport_accuracy(certain, torch.tensor([0.6, 0.4])) == pytest.approx(0.75, abs=1e-3), (
        "2.4 and 1.6: 2 and 2"
    )


def test_the_vote_is_the_most_frequent_answer_and_the_first_where_two_tie() -> None:
    answers = [torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor([1, 2, 1])]
    assert estimates.vote(answers, 3).tolist() == [1, 1, 2]
    assert estimates.agreement(answers[0], answers[1]) == pytest.approx(1 / 3)


def test_a_regression_tells_answers_that_follow_the_features_from_shuffled_ones() -> None:
    features, labels = blobs()
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    assert estimates.learnability(features, labels, 4) == 1
    assert estimates.learnability(features, shuffled, 4) < 0.5


def test_the_regression_is_about_scikit_learns() -> None:
    features, labels = blobs(noise=0.5, images=300)
    oracle = cross_val_predict(LogisticRegression(), features.numpy() * math.sqrt(8), labels.numpy(), cv=3)
    assert estimates.learnability(features, labels, 4) == pytest.approx(float((oracle == labels.numpy()).mean()), abs=0.03)


def test_two_heads_agree_where_the_answers_can_be_learnt() -> None:
    features, labels = blobs(images=200)
    draw = torch.Generator().manual_seed(3)
    noise = torch.randint(4, (200,), generator=draw)
    asked, _ = blobs(seed=5)
    assert estimates.head_agreement(features, labels, asked, 4) > 0.98
    assert estimates.head_agreement(features, noise, asked, 4) < 0.98
    assert estimates.head_agreement(features, noise, asked, 4, seeds=(1, 1)) == 1
