"""The audit: whom it asks, and that its interval holds the accuracy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from nola_core.trust.audit import MIN_LABELS, Plan, draw, estimate


def population(*, count: int = 1500, accuracy: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, answers, and whether they are right, as likely as the confidence says."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(3 * accuracy, 3 * (1 - accuracy), count)
    return confidence, rng.integers(7, size=count), rng.random(count) < confidence


@pytest.mark.parametrize("labels", [30, 100])
@pytest.mark.parametrize("accuracy", [0.6, 0.95])
def test_the_interval_holds_the_accuracy_and_is_narrower_than_that_of_a_simple_sample(labels: int, accuracy: float) -> None:
    confidence, classes, right = population(accuracy=accuracy)
    held, widths, simple = 0, [], []
    for seed in range(200):
        plan = draw(confidence, classes, seed=seed)
        found = estimate(plan, {row: bool(right[row]) for row in plan.order[:labels]})
        assert found is not None
        held += found.low <= right.mean() <= found.high
        widths.append(found.high - found.low)
        some = right[np.random.default_rng(seed).permutation(len(right))[:labels]]
        interval = binomtest(int(some.sum()), labels).proportion_ci(method="exact")
        simple.append(interval.high - interval.low)
    assert held >= 186  # 190 of 200 are promised; fewer than 186 would happen once in a hundred
    assert np.mean(widths) < np.mean(simple)


def test_a_useless_confidence_costs_no_coverage() -> None:
    _, classes, right = population()
    noise = np.random.default_rng(1).random(len(right))
    plans = [draw(noise, classes, seed=seed) for seed in range(200)]
    found = [estimate(plan, {row: bool(right[row]) for row in plan.order[:40]}) for plan in plans]
    assert sum(one is not None and one.low <= right.mean() <= one.high for one in found) >= 186


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_image_has_one_place_and_every_beginning_its_shares(count: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.random(count).round(1)  # with ties
    plan = draw(confidence, rng.integers(classes, size=count), seed=seed)
    assert sorted(plan.order.tolist()) == list(range(count))
    strata = int(plan.stratum.max()) + 1
    means = [confidence[plan.stratum == number].mean() for number in range(strata)]
    assert means == sorted(means)
    half = plan.stratum[plan.order[: count // 2]]
    if count >= 100:
        assert min(np.bincount(half, minlength=strata)) >= count // 2 // strata // 3


def test_every_image_of_a_stratum_is_as_likely_to_be_asked_about_first() -> None:
    confidence, classes = np.linspace(0, 1, 40), np.arange(40) % 3
    firsts = np.zeros(40)
    for seed in range(4000):
        plan = draw(confidence, classes, seed=seed)
        firsts[plan.order[0]] += 1
    asked = firsts[firsts > 0]
    assert len(asked) == 10 and abs(asked / 4000 - 0.1).max() < 0.02


def test_the_first_questions_are_about_different_classes() -> None:
    plan = draw(np.full(700, 0.5), np.arange(700) % 7, seed=3)
    assert len(set((plan.order[:35] % 7).tolist())) == 7


def test_the_estimate_weighs_strata_by_their_images() -> None:
    """Forty sure images, ten judged, all right; ten doubtful ones, ten judged, half of them right: 0.8 * 1 + 0.2 * 0.5."""
    stratum = np.repeat([0, 1], [10, 40])
    answers = {row: row % 2 == 0 for row in range(10)} | dict.fromkeys(range(10, 20), True)
    found = estimate(Plan(np.arange(50), stratum), answers)
    assert found is not None and found.accuracy == pytest.approx(0.9)
    assert found.strata == ((10, 10, 5), (40, 10, 10)) and found.labels == 20
    assert found.low < 0.9 < found.high


def test_all_judged_needs_no_interval_and_few_judged_give_none() -> None:
    plan = draw(np.linspace(0, 1, 30), np.zeros(30, dtype=int), seed=0)
    whole = estimate(plan, {row: row != 4 for row in range(30)})
    assert whole is not None and whole.accuracy == whole.low == whole.high == pytest.approx(29 / 30)
    assert estimate(plan, {int(row): True for row in plan.order[: MIN_LABELS - 1]}) is None


def test_all_right_still_leaves_room_for_errors() -> None:
    confidence, classes, _ = population()
    plan = draw(confidence, classes, seed=0)
    found = estimate(plan, dict.fromkeys(plan.order[:50].tolist(), True))
    exact = binomtest(50, 50).proportion_ci(method="exact")
    assert found is not None and found.accuracy == 1 and found.high == 1 and found.low == pytest.approx(exact.low)
