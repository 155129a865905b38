"""Whether class names say anything about the images, as far as that shows without labels.

benchmarks/results/names.md has the study that these figures come from.
"""

from __future__ import annotations

import math

import numpy as np

NULLS = 20
"""Other class vectors that the given ones are compared with."""


def agreement(answers: np.ndarray, neighbors: np.ndarray, *, classes: int) -> float:
    """How much more often an image's neighbours share its answer than shuffled answers would (Cohen's kappa over the edges).

    Args:
        answers: int64 [N], the class of each image.
        neighbors: int64 [N, k], its nearest other images.
        classes: C.

    Returns:
        1 if all neighbours agree, 0 if they agree as shuffled answers do, and 0 where all images have one answer.
    """
    counts = np.bincount(answers, minlength=classes).astype(float)
    images = len(answers)
    chance = float((counts * (counts - 1)).sum()) / (images * (images - 1)) if images > 1 else 1.0  # of two different images
    if chance >= 1 or not neighbors.size:
        return 0.0
    same = float((answers[neighbors] == answers[:, None]).mean())
    return (same - chance) / (1 - chance)


def information(answers: np.ndarray, neighbors: np.ndarray, *, classes: int) -> float:
    """Mutual information of an image's answer and a neighbour's, over log C: in [0, 1], 0 where all images have one answer.

    Unlike `agreement` it is small where the answers are few: two of a hundred names, told apart without an error, have
    log 2 / log 100 at most. Arguments as of `agreement`.
    """
    if classes < 2 or not neighbors.size:
        return 0.0
    pairs = np.repeat(answers, neighbors.shape[1]) * classes + answers[neighbors].reshape(-1)
    used, counts = np.unique(pairs, return_counts=True)
    joint = counts / counts.sum()
    own = np.bincount(used // classes, joint, classes)
    other = np.bincount(used % classes, joint, classes)
    found = float((joint * np.log(joint / (own[used // classes] * other[used % classes]))).sum())
    return max(0.0, found / math.log(classes))


def used(answers: np.ndarray, *, classes: int) -> float:
    """The share of the classes that the answers really use, in [1 / C, 1]: exp of their entropy, over C."""
    shares = np.bincount(answers, minlength=classes) / len(answers)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) / classes


def turned(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Class vectors turned at random about their mean: all their cosines among themselves stay, float32 [C, d].

    The turn is within the space the vectors span, uniform over its rotations and reflections.
    """
    center = weights.mean(axis=0, keepdims=True)
    rows = weights - center
    basis, singular, axes = np.linalg.svd(rows, full_matrices=False)
    rank = int((singular > 1e-5 * max(singular[0], 1e-12)).sum())
    q, r = np.linalg.qr(rng.standard_normal((rank, rank)))
    q *= np.sign(np.diag(r))
    return ((basis[:, :rank] * singular[:rank]) @ q @ axes[:rank] + center).astype(np.float32)
