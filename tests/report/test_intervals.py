"""Intervals and p-values against published tables, another library function and slow sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from nola_core.report.intervals import accuracy_interval, paired_gain, paired_interval

TABLES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 500)).filter(any)  # won, lost, the same


def answers(won: int, lost: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([False, True, True, False], [won, lost, same // 2, same - same // 2])
    after = np.repeat([True, False, True, False], [won, lost, same // 2, same - same // 2])
    return before, after


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe, Statistics in Medicine 17, 857-872 (1998), table I, method 3: Wilson's
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718), (29, 29, 0.8830, 1.0)],
)
def test_the_interval_of_an_accuracy_is_the_published_one(right: int, count: int, low: float, high: float) -> None:
    assert accuracy_interval(right, count) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("won", "lost", "count", "low", "high"),
    [
        (7, 1, 21, 0.026, 0.517),  # Fagerland, Lydersen, Laake, Statistics in Medicine 33 (2014): Tango's asymptotic score
        (0, 0, 10, -0.2775, 0.2775),  # with nothing discordant, +-z^2 / (n + z^2)
        (10, 0, 10, 1 - 0.5551, 1.0),
        (1, 1, 2, -0.8111, 0.8111),
    ],
)
def test_the_interval_of_a_gain_is_tangos_without_the_correction(
    won: int, lost: int, count: int, low: float, high: float
) -> None:
    assert paired_interval(won, lost, count, correction=0) == pytest.approx((low, high), abs=6e-4)


@settings(max_examples=80, deadline=None)
@given(TABLES, st.sampled_from([0.0, 1.0]))
@example((9, 2, 489), 1.0)
@example((1_281, 310, 1_279_576), 1.0)
def test_the_ends_of_a_gains_interval_are_where_the_score_reaches_the_quantile(
    table: tuple[int, int, int], correction: float
) -> None:
    """The slow oracle: the likeliest rates under each end, found by search, and the score statistic there."""
    won, lost, same = table
    count = won + lost + same
    low, high = paired_interval(won, lost, count, correction=correction)
    assert -1 <= low <= (won - lost) / count <= high <= 1
    for end in (low, high):
        if abs(end) > 1 - 1e-9:
            continue

        def unlikely(only_lost: float, end: float = end) -> float:
            rates = (only_lost + end, only_lost, 1 - 2 * only_lost - end)
            return -sum(n * math.log(max(rate, 1e-300)) for n, rate in zip(table, rates, strict=True))

        bounds = (max(0.0, -end), (1 - end) / 2)
        only_lost = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        score = (abs(won - lost - count * end) - correction) / math.sqrt(count * (2 * only_lost + end * (1 - end)))
        assert score == pytest.approx(1.959964, abs=2e-3)


@settings(max_examples=100, deadline=None)
@given(TABLES)
@example((9, 2, 489))
@example((0, 0, 10))
def test_the_p_value_is_the_exact_one_and_the_interval_agrees_with_it_about_zero(table: tuple[int, int, int]) -> None:
    won, lost, _ = table
    gain = paired_gain(*answers(*table))
    assert (gain.won, gain.lost, gain.mean) == (won, lost, (won - lost) / sum(table))
    tail = sum(math.comb(won + lost, n) for n in range(min(won, lost) + 1))
    assert gain.p == pytest.approx(min(1.0, 2 * tail / 2 ** (won + lost)))
    if abs(gain.p - 0.05) > 0.0015:
        assert gain.may_be_chance == (gain.p > 0.05) == (gain.low <= 0 <= gain.high)
    back = paired_gain(*reversed(answers(*table)))
    assert (back.low, back.high, back.p) == pytest.approx((-gain.high, -gain.low, gain.p), abs=1e-9)


def test_nine_won_and_two_lost_of_five_hundred_may_be_chance() -> None:
    gain = paired_gain(*answers(9, 2, 489))
    assert gain.may_be_chance
    assert gain.p == pytest.approx(0.0654, abs=1e-4)
    assert gain.low < 0 < gain.mean == 0.014
    assert not paired_gain(*answers(12, 2, 486)).may_be_chance


def test_nothing_won_and_nothing_lost_is_no_gain_and_not_a_certain_one() -> None:
    for right in (np.ones(50, dtype=bool), np.zeros(50, dtype=bool)):
        gain = paired_gain(right, right)
        assert (gain.mean, gain.p, gain.may_be_chance) == (0, 1, True)
        assert gain.low == pytest.approx(-gain.high) and 0.05 < gain.high < 0.15
    all_won = paired_gain(np.zeros(50, dtype=bool), np.ones(50, dtype=bool))
    assert (all_won.mean, all_won.high) == (1, 1) and 0.8 < all_won.low < 1


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_an_accuracys_interval_lies_around_it_and_turns_with_right_and_wrong(case: tuple[int, int]) -> None:
    right, count = case
    low, high = accuracy_interval(right, count)
    assert 0 <= low <= right / count <= high <= 1 and low < high
    assert accuracy_interval(count - right, count) == pytest.approx((1 - high, 1 - low))
