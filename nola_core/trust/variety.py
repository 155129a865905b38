"""How varied a method's predictions are: what shows that a student has collapsed into few classes. No label is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nola_core.errors import NolaError

if TYPE_CHECKING:
    from torch import Tensor


class Variety:
    """Accumulates the variety of N x C probabilities batch by batch, in the memory of C numbers."""

    def __init__(self) -> None:
        self._images = 0
        self._total: Tensor | None = None
        self._answers: Tensor | None = None

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
        if self._total is None or self._answers is None:
            self._total = torch.zeros(batch.shape[1], dtype=torch.float64)
            self._answers = torch.zeros(batch.shape[1], dtype=torch.float64)
        if batch.shape[1] != len(self._total):
            raise NolaError(f"A batch has {batch.shape[1]} classes, but earlier batches have {len(self._total)}.")
        if len(batch) == 0:
            return
        # The sum of a float16 softmax over a thousand classes differs from 1 by up to about 0.005; NaN also fails this check.
        if not (batch.min() >= 0 and (batch.sum(dim=1) - 1).abs().max() <= 0.01):
            raise NolaError(
                "Probabilities must be between 0 and 1 and sum to 1 in each row; these do not (check the features for NaN)."
            )
        self._images += len(batch)
        self._total += batch.sum(dim=0)
        self._answers += torch.bincount(batch.argmax(dim=1), minlength=len(self._answers))

    def result(self) -> dict[str, float | int]:
        """The variety of everything added so far.

        Returns:
            `answer_nuclear_norm`: nuclear norm of the one-hot predicted classes (the sum of the singular values, here of the
                square roots of the counts; Cui et al., CVPR 2020) over its maximum sqrt(N * min(N, C)). In
                [1 / sqrt(min(N, C)), 1]: 1 for classes predicted equally often, the least for a single one.
            `mean_prediction_entropy`: entropy of the mean prediction divided by log C, in [0, 1]: 1 for classes
                predicted equally often, 0 for a single one. 1 by definition if there is only one class.
            `images`: N.

        Raises:
            NolaError: nothing was added.
        """
        if self._total is None or self._answers is None or self._images == 0:
            raise NolaError("There are no predictions to score: no image was added.")
        import torch

        classes = len(self._total)
        mean = self._total / self._total.sum()
        entropy = float(torch.special.entr(mean).sum()) / math.log(classes) if classes > 1 else 1.0
        largest = math.sqrt(self._images * min(self._images, classes))
        return {
            "answer_nuclear_norm": min(1.0, float(self._answers.sqrt().sum()) / largest),
            "mean_prediction_entropy": min(1.0, max(0.0, entropy)),
            "images": self._images,
        }
