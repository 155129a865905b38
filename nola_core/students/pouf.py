"""POUF's loss: images and class embeddings move towards each other, and the answers become sure and varied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nola_core.students.objective import Batch, Objective

if TYPE_CHECKING:
    from nola_core.students.student import TunedStudent

EPSILON = 1e-6


class Pouf(Objective):
    """Transport cost in both directions, less `information` times the mutual information of images and classes.

    It needs a batch at once: images are compared with each other, and the mean prediction is that of the batch.
    """

    whole = True

    def __init__(self, *, information: float) -> None:
        self.information = information

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        assert student.scale is not None
        logits: Tensor = student(batch.strong)
        value = transport(logits, scale=student.scale) - self.information * mutual_information(logits.softmax(dim=1))
        return len(logits) * value, logits


def transport(logits: Tensor, *, scale: float) -> Tensor:
    """The cost 1 - cos of going from each image to the classes and from each class to the images, a scalar.

    Image j goes to class c with the probability softmax_c(logits_j), class c to image j with softmax_j(logits_c); images weigh
    the same, and so do classes (Tanwisuth et al., 2023, section 3.2).

    Args:
        logits: float32 [B, C], scale times the cosines.
    """
    cost = 1 - logits / scale
    images = (cost * logits.softmax(dim=1)).sum(dim=1).mean()
    classes = (cost * logits.softmax(dim=0)).sum(dim=0).mean()
    return images + classes


def mutual_information(p: Tensor) -> Tensor:
    """H(mean p) - mean H(p) in nats, a scalar, of probabilities [B, C]: large if answers are sure and all classes occur."""
    mean = p.mean(dim=0)
    return (p * (p + EPSILON).log()).sum(dim=1).mean() - (mean * (mean + EPSILON).log()).sum()
