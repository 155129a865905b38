"""Unknown scores: how much speaks against an image belonging to any of the named classes. Higher means more likely unknown.

Every score is a function of cached features or of probabilities, row by row. benchmarks/results/unknown.md compares them; the
default, which the stage `predict` writes, is `from_means` of the pseudo-labelled images in the SSL space.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra.rowwise import product

PROBE_PENALTY = 100.0
"""scikit-learn's C, the inverse of the penalty: weak, because the features have unit length."""
PROBE_IMAGES = 10_000
"""Pseudo-labelled images that the probe is given, at most."""
PROBE_STEPS = 100


def softmax(probabilities: Tensor) -> Tensor:
    """1 - max_c p_c, float32 [B] in [0, 1), of probabilities [B, C] (Hendrycks and Gimpel, ICLR 2017)."""
    return 1 - probabilities.amax(dim=1)


def energy(logits: Tensor) -> Tensor:
    """-log sum_c exp(l_c), float32 [B], of logits [B, C] (Liu et al., NeurIPS 2020, equation 4, at temperature 1)."""
    return -logits.logsumexp(dim=1)


def mean(*posteriors: Tensor) -> Tensor:
    """The mean of several classifiers' probabilities, float32 [B, C] each."""
    total = posteriors[0].clone()
    for one in posteriors[1:]:
        total += one
    return total / len(posteriors)


def averaged(*posteriors: Tensor) -> Tensor:
    """1 - max_c of the mean of several classifiers' probabilities [B, C], float32 [B] in [0, 1).

    COOkeD averages a closed-set classifier, zero-shot CLIP and a probe on CLIP's features, and scores the mean.
    """
    return softmax(mean(*posteriors))


def from_means(features: Tensor, means: Tensor) -> Tensor:
    """1 - the cosine to the nearest class mean, float32 [B] in [0, 2].

    Args:
        features: float32 [B, d], L2-normalised.
        means: float32 [C, d], L2-normalised; a row of zeros, a class without images, is nobody's nearest below a cosine of 0.
    """
    return 1 - product(features, means).amax(dim=1)


def from_neighbors(features: Tensor, gallery: Tensor, k: int) -> Tensor:
    """1 - the cosine to the k-th nearest image of a gallery, float32 [B] in [0, 2] (Sun et al., ICML 2022).

    Args:
        features: float32 [B, d], L2-normalised.
        gallery: float32 [M, d], M >= 1, L2-normalised.
        k: the farthest is taken where the gallery has fewer.
    """
    return 1 - product(features, gallery).topk(min(k, len(gallery)), dim=1).values[:, -1]


def denied(yes: Tensor, no: Tensor) -> Tensor:
    """sum_c p_c p(no | c), float32 [B] in [0, 1]: CLIPN's "agreeing to differ" (ICCV 2023, equation 9) without its training.

    Args:
        yes: logits of the texts that name a class, float32 [B, C]; p is their softmax.
        no: logits of the texts that deny it, such as "a photo without a {}", float32 [B, C]; p(no | c) = sigmoid(no - yes).
    """
    return (yes.softmax(dim=1) * (no - yes).sigmoid()).sum(dim=1)


def percentiles(among: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The share of `among` below each value, float32 [N] in [0, 1]: scores of different units become comparable."""
    return (np.searchsorted(np.sort(among), values) / max(1, len(among))).astype(np.float32)


class Means:
    """Class means in one space, added up block by block: mu_c = L2norm(sum_i p_ic x_i).

    Args:
        classes: C.
        dim: d.
    """

    def __init__(self, classes: int, dim: int) -> None:
        self._sums = torch.zeros(classes, dim, dtype=torch.float64)

    def add(self, features: Tensor, top_classes: Tensor, top_probabilities: Tensor) -> None:
        """Add images.

        Args:
            features: float32 [B, d], L2-normalised.
            top_classes: int64 [B, t], the most probable classes of each.
            top_probabilities: float32 [B, t].
        """
        for place in range(top_classes.shape[1]):
            self._sums.index_add_(0, top_classes[:, place], (features * top_probabilities[:, place, None]).double())

    def result(self) -> Tensor:
        """float32 [C, d]; zeros for a class that no image was added to."""
        return normalize(self._sums, dim=1).float()


def spread(top_classes: Tensor, top_probabilities: Tensor, classes: int) -> Tensor:
    """Probabilities float32 [B, C] from the most probable classes alone [B, t], the others 0, as prediction tables keep them."""
    return torch.zeros(len(top_classes), classes).scatter_(1, top_classes, top_probabilities)


@dataclass(frozen=True)
class Probe:
    """A multinomial logistic regression on CLIP's features, trained on pseudo-labels.

    Attributes:
        weights: float32 [C, d].
        bias: float32 [C]; -inf for a class without pseudo-labels.
    """

    weights: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, features: np.ndarray, class_ids: np.ndarray, *, classes: int) -> Probe | None:
        """The probe; None where fewer than two classes have a pseudo-label.

        Args:
            features: float32 [M, d], L2-normalised, of the pseudo-labelled images.
            class_ids: int64 [M].
            classes: C.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        present = np.unique(class_ids)
        if len(present) < 2:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a probability change no score
            found = LogisticRegression(C=PROBE_PENALTY, max_iter=PROBE_STEPS).fit(features, class_ids)
        weights, bias = torch.zeros(classes, features.shape[1]), torch.full((classes,), -torch.inf)
        coefficients, intercept = found.coef_, found.intercept_
        if len(present) == 2:  # one row, the second class's log odds
            coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.array([0.0, intercept[0]])
        weights[present] = torch.from_numpy(coefficients).float()
        bias[present] = torch.from_numpy(intercept).float()
        return cls(weights, bias)

    def predict(self, features: Tensor) -> Tensor:
        """Class probabilities, float32 [B, C], of L2-normalised features float32 [B, d]."""
        return (product(features, self.weights) + self.bias).softmax(dim=1)


def drawn(count: int, most: int) -> np.ndarray:
    """All of `count` rows, or `most` of them, drawn with a fixed seed; int64 in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))
