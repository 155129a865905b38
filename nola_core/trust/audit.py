"""The accuracy of a classifier from a few labels: which images to ask about, and an interval that holds.

    >>> plan = draw(confidence, classes, seed=7777)          # the images in the order they are asked about
    >>> estimate(plan, {row: is_right for row in plan.order[:50]})
    Estimate(accuracy=0.91, low=0.81, high=0.97, labels=50, ...)

Images are drawn at random within strata of the classifier's own confidence, all strata in proportion to their size, and within a
stratum spread over the predicted classes. Any beginning of the order is a valid sample, so a person may stop at any number that
was not chosen by the figure. The interval is that of Clopper and
Pearson with the sample size at which a simple random sample has the same variance (Korn and Graubard, "Confidence Intervals for
Proportions with Small Expected Number of Positive Counts Estimated from Survey Data", 1998). Confidence decides only whom to ask,
never what the answer is: an overconfident classifier makes the interval wide, not wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STRATA = 5
PRIOR = 2.0
"""Labels' worth of the overall accuracy that each stratum's variance starts from."""
GAIN = (0.5, 2.0)
"""Least and greatest effective sample size, as multiples of the number of labels."""
MIN_LABELS = 10
"""Fewer give no interval: strata need at least two each."""


@dataclass(frozen=True)
class Plan:
    """Which images to ask about.

    Attributes:
        order: int64 [N], all images in the order they are asked about.
        stratum: int64 [N], the stratum of each image, 0 the least confident.
    """

    order: np.ndarray
    stratum: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """What the labels say.

    Attributes:
        accuracy: of all images, in [0, 1].
        low: of the interval, likewise.
        high: likewise.
        labels: images that were judged.
        effective: labels that a simple random sample would need for the same width.
        strata: per stratum `(images, labels, right)`, the least confident first.
    """

    accuracy: float
    low: float
    high: float
    labels: int
    effective: float
    strata: tuple[tuple[int, int, int], ...]


def draw(confidence: np.ndarray, classes: np.ndarray, *, seed: int, strata: int = STRATA) -> Plan:
    """The order in which images are asked about.

    Args:
        confidence: float [N], the classifier's probability of its answer.
        classes: int [N], its answer.
        seed: of the random order.
        strata: of equal size by confidence; fewer where there are fewer than ten images for each.
    """
    count = len(confidence)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(count)  # ties in confidence are broken at random
    groups = np.array_split(shuffled[np.argsort(confidence[shuffled], kind="stable")], max(1, min(strata, count // 10)))
    stratum = np.empty(count, dtype=np.int64)
    for number, group in enumerate(groups):
        stratum[group] = number
    share = np.array([len(group) / count for group in groups])
    queues = [_spread(_by_class(rng.permutation(group), classes), rng) for group in groups]
    return Plan(_interleaved(queues, share), stratum)


def estimate(plan: Plan, answers: Mapping[int, bool], *, level: float = 0.95) -> Estimate | None:
    """The accuracy, with an interval that holds it in `level` of all audits; None with fewer than `MIN_LABELS` labels.

    Strata with fewer than two labels are joined with their neighbours.

    Args:
        answers: image -> whether the classifier is right about it. They must be those of a beginning of `plan.order`, less the
            images that nobody can judge.
    """
    if len(answers) < MIN_LABELS:
        return None
    counts = _joined(plan, answers)
    sizes, labels, right = (np.array(column, dtype=float) for column in zip(*counts, strict=True))
    weight = sizes / sizes.sum()
    total = len(answers)
    accuracy = float(weight @ (right / labels))
    pooled = (right + PRIOR * right.sum() / total) / (labels + PRIOR)
    variance = float((weight**2 * pooled * (1 - pooled) / labels * (1 - labels / sizes)).sum())
    spread = accuracy * (1 - accuracy)
    low, high = total * GAIN[0], total * GAIN[1]
    effective = float(np.clip(spread / variance, low, high)) if spread > 0 and variance > 0 else float(total)
    bounds = _clopper_pearson(accuracy * effective, effective, level=level)
    if len(answers) == len(plan.order):
        bounds = (accuracy, accuracy)  # every image was judged
    return Estimate(accuracy, *bounds, total, effective, tuple((int(n), int(m), int(k)) for n, m, k in counts))


def _by_class(group: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A group with the images of one class side by side, otherwise as it is."""
    return group[np.argsort(classes[group], kind="stable")]


def _spread(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A group in an order whose beginnings are spread over it: the van der Corput sequence from a random start.

    Every image is as likely to be at every place, so that a beginning is a random sample.
    """
    size = len(group)
    bits = max(1, int(np.ceil(np.log2(max(size, 2)))))
    numbers = np.arange(2**bits)
    reverse = np.zeros_like(numbers)
    for bit in range(bits):
        reverse |= ((numbers >> bit) & 1) << (bits - 1 - bit)
    places = (np.floor((reverse / 2**bits) * size).astype(np.int64) + rng.integers(size)) % max(size, 1)
    _, first = np.unique(places, return_index=True)
    return group[places[np.sort(first)]]


def _interleaved(queues: list[np.ndarray], share: np.ndarray) -> np.ndarray:
    """All queues as one, so that every beginning has the shares: the image number j of a queue is due at (j + 1/2) / share."""
    due = np.concatenate([(np.arange(len(queue)) + 0.5) / mine for queue, mine in zip(queues, share, strict=True)])
    return np.concatenate(queues)[np.argsort(due, kind="stable")]


def _joined(plan: Plan, answers: Mapping[int, bool]) -> list[tuple[int, int, int]]:
    """(images, labels, right) a stratum; one with fewer than two labels is joined with the next, the last with the one before."""
    rows = np.fromiter(answers, dtype=np.int64, count=len(answers))
    right = np.fromiter(answers.values(), dtype=bool, count=len(answers))
    images = np.bincount(plan.stratum)
    labels, hits = (np.bincount(plan.stratum[some], minlength=len(images)) for some in (rows, rows[right]))
    joined: list[tuple[int, int, int]] = []
    waiting = (0, 0, 0)
    for size, mine, good in zip(images.tolist(), labels.tolist(), hits.tolist(), strict=True):
        waiting = (waiting[0] + size, waiting[1] + mine, waiting[2] + good)
        if waiting[1] >= 2:
            joined.append(waiting)
            waiting = (0, 0, 0)
    if waiting[0]:
        last = joined.pop()
        joined.append((last[0] + waiting[0], last[1] + waiting[1], last[2] + waiting[2]))
    return joined


def _clopper_pearson(right: float, labels: float, *, level: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if right <= 0 else float(betaincinv(right, labels - right + 1, tail))
    high = 1.0 if right >= labels else float(betaincinv(right + 1, labels - right, 1 - tail))
    return low, high
