"""Evidence of a space: the weight in closed form, and what is measured on made spaces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize, one_hot

from nola_core.algebra.agreement import held_out, measured, shrinkage, weight

CLASSES = 5
share = st.floats(0, 1)


def of_two(agreement: float, confidence: float) -> float:
    """The weight with two classes, three images a class, and a text of confidence 0.9."""
    return weight(agreement, confidence, 0.9, classes=2, images_per_class=3.0)


def test_the_weight_is_its_three_factors() -> None:
    assert of_two(0.82, 0.9) == pytest.approx(0.5)  # as confident as the text, agreement as expected, few images
    assert of_two(0.5, 0.9) == 0  # agrees by chance
    assert of_two(0.58, 0.9) == pytest.approx(0.5 * 2 * 0.08 / 0.32)
    assert of_two(0.82, 0.8) == pytest.approx(0.5 * (2 * 0.3 / 0.4 - 1))
    assert of_two(0.82, 0.7) == 0  # half as confident as the text, above chance


@given(share, share, share, st.integers(1, 100), st.floats(0, 1000))
def test_the_weight_is_in_the_unit_interval_and_grows_with_agreement(a: float, q: float, c: float, k: int, n: float) -> None:
    found = weight(a, q, c, classes=k, images_per_class=n)
    assert 0 <= found <= 1
    assert found <= weight(min(1.0, a + 0.1), q, c, classes=k, images_per_class=n)


def space(noise: float, *, images: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around one direction a class, and logits of a text that is right about four of five images."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    features = normalize(torch.eye(CLASSES, 12)[labels] + noise * torch.randn(images, 12, generator=draw), dim=1)
    wrong = torch.rand(images, generator=draw) < 0.2
    told = torch.where(wrong, (labels + 1) % CLASSES, labels)
    return features, 3 * one_hot(told, CLASSES).float()


def test_a_good_space_has_the_whole_weight_and_a_random_one_none() -> None:
    good, logits = space(0.1)
    assert measured(good, logits, 0.1, share=1.0, images=400).weight == pytest.approx(80 / 83)
    random = normalize(torch.randn(400, 12, generator=torch.Generator().manual_seed(1)), dim=1)
    assert measured(random, logits, 0.1, share=1.0, images=400).weight < 0.02


def test_a_space_that_is_confident_about_something_else_has_no_weight() -> None:
    good, logits = space(0.1)
    elsewhere = good[torch.randperm(400, generator=torch.Generator().manual_seed(2))]
    assert measured(elsewhere, logits, 0.1, share=1.0, images=400).weight < 0.02


def test_held_out_images_are_answered_by_discriminants_of_the_others() -> None:
    features, logits = space(0.5, images=50)
    given = logits.softmax(dim=1)
    folds = features[:, 0].argsort().argsort() % 5
    whole = held_out(features, given, 0.1)
    changed = torch.where((folds == 2)[:, None], given.flip(1), given)
    again = held_out(features, changed, 0.1)
    assert torch.equal(whole[folds == 2], again[folds == 2]) and not torch.equal(whole[folds != 2], again[folds != 2])


def test_nothing_is_measured_on_one_image_and_covariances_of_few_are_rounder() -> None:
    assert measured(torch.ones(1, 4), torch.eye(4)[:1], 0.1, share=1.0, images=1).weight == 0
    assert shrinkage(0.1, 100, 100) == 0.5 and shrinkage(0.1, 10_000, 100) == 0.1
