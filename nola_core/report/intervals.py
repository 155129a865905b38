"""How sure a measured accuracy and a measured gain are: score intervals and an exact test, all at 95 %."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

LEVEL = 0.95


@dataclass(frozen=True)
class Gain:
    """What one method gains over another on the same images.

    Attributes:
        mean: accuracy of the second method less that of the first.
        low: lower end of its interval.
        high: upper end.
        won: images that only the second classifies correctly.
        lost: images that only the first did.
        p: of the exact McNemar test, two-sided: how often chance alone would divide `won + lost` images so unevenly.
    """

    mean: float
    low: float
    high: float
    won: int
    lost: int
    p: float

    @property
    def may_be_chance(self) -> bool:
        """Whether the exact test does not reject chance at 5 %, or the interval holds 0."""
        return self.p > 1 - LEVEL or self.low <= 0 <= self.high


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of the share `right / count` ("Probable Inference", JASA 1927)."""
    interval = binomtest(right, count).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def paired_gain(before: np.ndarray, after: np.ndarray) -> Gain:
    """The gain of `after` over `before`.

    Args:
        before: bool [n], whether the one method classifies each image correctly.
        after: bool [n] the same for the other.
    """
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return Gain((won - lost) / len(before), *paired_interval(won, lost, len(before)), won, lost, p)


def paired_interval(won: int, lost: int, count: int, *, correction: float = 1.0) -> tuple[float, float]:
    """Tango's score interval of a difference of paired proportions (Statistics in Medicine 17, 1998), continuity-corrected.

    It holds every difference d for which (|won - lost - count d| - correction) / sqrt(variance at d) is below the normal
    quantile. A correction of 1 is Edwards' of McNemar's test: with it the interval agrees with the exact test about 0, but for a
    few tables at the very edge; 0 gives Tango's own.

    Args:
        won: images that only the one method classifies correctly.
        lost: images that only the other did.
        count: all images.
        correction: in images.
    """
    quantile = float(norm.ppf((1 + LEVEL) / 2))
    difference, step = (won - lost) / count, 1e-12

    def excess(d: float) -> float:
        linear = (2 * count - won + lost) * d - won - lost
        only_lost = (math.sqrt(max(linear**2 + 8 * count * lost * d * (1 - d), 0)) - linear) / (4 * count)  # its likeliest rate
        variance = count * (2 * only_lost + d * (1 - d))
        return max(abs(won - lost - count * d) - correction, 0) ** 2 - quantile**2 * variance

    low = brentq(excess, -1, difference - step) if difference > -1 and excess(-1) > 0 else -1.0
    high = brentq(excess, difference + step, 1) if difference < 1 and excess(1) > 0 else 1.0
    return float(low), float(high)
