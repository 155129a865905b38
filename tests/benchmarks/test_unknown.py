"""How the benchmark of unknown images counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.unknown import curve


def test_the_curve_is_a_count_of_pairs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.4
    values = truth + rng.standard_normal(60).round(1)  # with ties
    pairs = [(u > k) + (u == k) / 2 for u in values[truth] for k in values[~truth]]
    threshold = max(t for t in values if (values[truth] >= t).mean() >= 0.95)
    found = curve(truth, values)
    assert found["auroc"] == pytest.approx(100 * np.mean(pairs), abs=0.01)
    assert found["fpr95"] == pytest.approx(100 * (values[~truth] >= threshold).mean(), abs=0.01)
