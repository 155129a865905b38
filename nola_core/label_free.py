"""Scores of a classifier that need no label, and the guard that compares a student with its teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg.blas import dsyrk

from nola_core.errors import NolaError

if TYPE_CHECKING:
    from torch import Tensor  # `guard` compares numbers; evaluate, which calls it, runs without torch

GUARD_TOLERANCE = 0.01
"""How far a score may fall below the teacher's before `guard` warns; both scores lie in [0, 1]."""


class LabelFreeScores:
    """Accumulates the scores of an N x C probability matrix batch by batch, in C x C memory.

    The nuclear norm (the sum of the singular values) grows with both the confidence and the variety of the predictions (Cui et
    al., "Towards Discriminability and Diversity: Batch Nuclear-norm Maximization", CVPR 2020). The singular values are the square
    roots of the eigenvalues of the Gram matrix P^T P. It is summed in float64, because the error of a singular value near zero is
    the square root of the rounding error. BLAS computes only the lower half, in half the time of a product.
    """

    def __init__(self) -> None:
        self._images = 0
        self._gram: np.ndarray | None = None
        self._total: Tensor | None = None
        self._answers: Tensor | None = None
        self._confidence = 0.0

    def add(self, probabilities: Tensor) -> None:
        """Add a batch.

        Args:
            probabilities: [B, C], any floating dtype and device; rows are distributions. B may be 0.

        Raises:
            NolaError: not two-dimensional, a different number of classes than before, or values that are not probabilities.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] == 0:
            raise NolaError(f"Probabilities must be [images, classes], not of shape {tuple(probabilities.shape)}.")
        import torch

        batch = probabilities.detach().to("cpu", torch.float64)
        if self._gram is None:
            classes = batch.shape[1]
            self._gram = np.zeros((classes, classes), order="F")
            self._total = torch.zeros(classes, dtype=torch.float64)
            self._answers = torch.zeros(classes, dtype=torch.float64)
        if batch.shape[1] != len(self._gram):
            raise NolaError(f"A batch has {batch.shape[1]} classes, but earlier batches have {len(self._gram)}.")
        if len(batch) == 0:
            return
        # The sum of a float16 softmax over a thousand classes differs from 1 by up to about 0.005; NaN also fails this check.
        if not (batch.min() >= 0 and (batch.sum(dim=1) - 1).abs().max() <= 0.01):
            raise NolaError(
                "Probabilities must be between 0 and 1 and sum to 1 in each row; these do not (check the features for NaN)."
            )
        assert self._total is not None and self._answers is not None
        self._images += len(batch)
        self._gram = dsyrk(1.0, batch.contiguous().numpy().T, 1.0, self._gram, lower=1, overwrite_c=1)
        self._total += batch.sum(dim=0)
        confidence, answers = batch.max(dim=1)
        self._answers += torch.bincount(answers, minlength=len(self._answers))
        self._confidence += float(confidence.sum())

    def result(self) -> dict[str, float | int]:
        """The scores of everything added so far.

        Returns:
            `nuclear_norm`: divided by its maximum sqrt(N * min(N, C)), so it is in (0, 1]: 1 for confident and evenly
                spread predictions, 1 / sqrt(min(N, C)) for confident predictions of a single class.
            `answer_nuclear_norm`: the same for the predicted classes (one-hot rows). It measures only variety and is in
                [1 / sqrt(min(N, C)), 1].
            `mean_prediction_entropy`: entropy of the mean prediction divided by log C, in [0, 1]: 1 for classes
                predicted equally often, 0 for a single one. 1 by definition if there is only one class.
            `mean_confidence`: mean of the largest probability, in [1 / C, 1].
            `images`: N.

        Raises:
            NolaError: nothing was added.
        """
        if self._gram is None or self._total is None or self._answers is None or self._images == 0:
            raise NolaError("There are no predictions to score: no image was added.")
        import torch

        classes = len(self._total)
        singular = torch.linalg.eigvalsh(torch.from_numpy(self._gram), UPLO="L").clamp_min(0).sqrt()
        mean = self._total / self._total.sum()
        largest = math.sqrt(self._images * min(self._images, classes))
        entropy = float(torch.special.entr(mean).sum()) / math.log(classes) if classes > 1 else 1.0
        return {
            "nuclear_norm": min(1.0, float(singular.sum()) / largest),
            "answer_nuclear_norm": min(1.0, float(self._answers.sqrt().sum()) / largest),
            "mean_prediction_entropy": min(1.0, max(0.0, entropy)),
            "mean_confidence": min(1.0, self._confidence / self._images),
            "images": self._images,
        }


def guard(student: Mapping[str, Any], teacher: Mapping[str, Any], *, title: str) -> str | None:
    """The warning about a student whose predictions are less varied than its teacher's, or None.

    A student that collapses into few classes loses nuclear norm of its predicted classes and entropy of its mean prediction. A
    fall of more than `GUARD_TOLERANCE` below the teacher in either is reported. Confidence is not compared: the student learns
    smoothed labels and predicts without a temperature, so it is less confident even where it is more accurate, and the nuclear
    norm of its probabilities falls with that.

    Args:
        student: `LabelFreeScores.result` of the student.
        teacher: that of its teacher over the same images.
        title: of the student, for the sentence.
    """
    names = {
        "answer_nuclear_norm": "nuclear norm of the predicted classes",
        "mean_prediction_entropy": "entropy of the mean prediction",
    }
    fallen = [
        f"the {name} fell from {float(teacher[key]):.3f} to {float(student[key]):.3f}"
        for key, name in names.items()
        if float(student[key]) < float(teacher[key]) - GUARD_TOLERANCE
    ]
    if not fallen:
        return None
    return f"By the scores that need no labels, {title} is worse than its teacher: {' and '.join(fallen)}."
