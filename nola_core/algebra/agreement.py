"""What a space says about the classes, measured without labels: discriminants asked about images they were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nola_core.algebra import blocks, gaussian
from nola_core.algebra.blocks import Blocks

FOLDS = 5
IMAGES_TO_HALF = 3.0
"""Images a class at which the weight is halved: means of so few say as much about the images as about the class."""


@dataclass(frozen=True)
class Evidence:
    """A space beside the text; all in [0, 1].

    Attributes:
        agreement: share of the images that the discriminants, fitted without them, put where the text puts them.
        confidence: mean confidence of the discriminants about those images.
        text_confidence: mean confidence of the text.
        weight: see `weight`.
    """

    agreement: float
    confidence: float
    text_confidence: float
    weight: float


def shrinkage(least: float, images: int, dim: int) -> float:
    """Share of a multiple of the identity in a covariance: d / (N + d), or `least`."""
    return max(least, dim / (images + dim))


def discriminant(space: Blocks, moments: gaussian.Moments, z: Tensor, least: float) -> gaussian.Discriminant:
    """Linear discriminants of the classes with soft assignments z, float32 [N, C]; one image at the mean of all joins each."""
    counts, sums = z.sum(dim=0, dtype=torch.float64), space.weighted_sum(z)
    means = gaussian.means(sums, counts, prior=moments.total / moments.count, pseudo_count=1)
    covariance = moments.within(sums, counts, means)
    return gaussian.discriminant(gaussian.shrunk(covariance, shrinkage(least, moments.count, space.dim)), means)


def held_out(features: Tensor, posteriors: Tensor, least: float) -> Tensor:
    """Discriminants of every image, fitted on the posteriors of the other folds' images. float32 [N, C].

    The folds are dealt out along the first feature: they do not depend on the order of the images.

    Args:
        features: float32 [N, d], N >= 2.
        posteriors: float32 [N, C].
        least: see `shrinkage`.
    """
    folds = torch.empty(len(features), dtype=torch.int64)
    folds[features[:, 0].argsort(stable=True)] = torch.arange(len(features)) % FOLDS
    out = torch.zeros_like(posteriors)
    for fold in range(min(FOLDS, len(features))):
        others, asked = folds != fold, folds == fold
        space = blocks.of(features[others])
        out[asked] = discriminant(space, gaussian.Moments.of(space), posteriors[others], least)(features[asked])
    return out


def measured(features: Tensor, logits: Tensor, least: float, *, share: float, images: int) -> Evidence:
    """The evidence of a space.

    Args:
        features: float32 [n, d], of some images.
        logits: float32 [n, C], the text's for them.
        share: of the names, that occur, in (0, 1].
        images: N, of the whole collection.
    """
    given, classes = logits.softmax(dim=1), logits.shape[1]
    text_confidence = float(given.amax(dim=1).mean())
    if len(features) < 2:
        return Evidence(0.0, 0.0, text_confidence, 0.0)
    scores = held_out(features, given, least)
    agreement = float((scores.argmax(dim=1) == logits.argmax(dim=1)).float().mean())
    confidence = float(scores.softmax(dim=1).amax(dim=1).mean())
    per_class = images / (share * classes)
    found = weight(agreement, confidence, text_confidence, classes=classes, images_per_class=per_class)
    return Evidence(agreement, confidence, text_confidence, found)


def weight(agreement: float, confidence: float, text_confidence: float, *, classes: int, images_per_class: float) -> float:
    """How far to trust a space, in [0, 1]: a product of three.

    1. 2 e - 1, e = its confidence over the text's, both above chance: nothing where it is half as confident, all where it is as
       confident. Held-out confidence is low where classes overlap in the space.
    2. Twice its agreement with the text over that of two independent classifiers as accurate as they are confident, above chance;
       at most 1. A space that is confident about something other than the names agrees less than half as often.
    3. n / (n + 3), n the images a class.
    """
    chance = 1 / classes
    confident = (confidence - chance) / max(text_confidence - chance, 1e-6)
    expected = confidence * text_confidence + (1 - confidence) * (1 - text_confidence) / max(classes - 1, 1)
    agreed = (agreement - chance) / max(expected - chance, 1e-6)
    few = images_per_class / (images_per_class + IMAGES_TO_HALF)
    return min(1.0, max(0.0, 2 * confident - 1)) * min(1.0, max(0.0, 2 * agreed)) * few
