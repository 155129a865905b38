"""Soft targets: the teacher's distribution over the classes, with a weight an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from nola_core.students.average import Average
from nola_core.students.objective import Batch, Epoch, Objective

if TYPE_CHECKING:
    from nola_core.students.images import Loader
    from nola_core.students.lesson import TopClasses
    from nola_core.students.student import TunedStudent

Weighting = Literal["none", "confidence", "agreement"]
BLOCK = 4096  # images whose distributions are made at a time


class SoftTargets(Objective):
    """Weighted cross-entropy with soft targets: sum_i w_i sum_c -q_ic log p_ic (Hinton et al., 2015, section 2).

    The target is q = (1 - smoothing) ((1 - text) teacher + text zero-shot) + smoothing / C.

    Args:
        teacher: the teacher's answers.
        zero_shot: the text classifier's answers for the same images.
        classes: C.
        text: the text's share of the target, in [0, 1].
        smoothing: in [0, 1).
        weighting: of the images; see `weights`.
        plain: the deterministic view's share of the loss, in [0, 1]; the rest is the strong view's.
        decay: of the moving average that the student becomes at the end, in [0, 1); 0: its last step.
    """

    def __init__(
        self,
        teacher: TopClasses,
        zero_shot: TopClasses,
        *,
        classes: int,
        text: float = 0.0,
        smoothing: float = 0.0,
        weighting: Weighting = "none",
        plain: float = 0.0,
        decay: float = 0.0,
    ) -> None:
        self.plain, self.weak = plain, plain > 0
        self.teacher, self.zero_shot, self.classes = teacher, zero_shot, classes
        self.text, self.smoothing = text, smoothing
        self.weights = weights(teacher, zero_shot, classes=classes, weighting=weighting)
        self.average = Average(decay)

    def targets(self, rows: Tensor) -> Tensor:
        """The distributions of some images by number, float32 [B, C]."""
        wanted = self.teacher.dense(rows, self.classes)
        if self.text:
            wanted = wanted.lerp(self.zero_shot.dense(rows, self.classes), self.text)
        return (1 - self.smoothing) * wanted + self.smoothing / self.classes

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        self.average.start(student)
        return Epoch()

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        logits: Tensor = student(batch.strong)
        rows = batch.rows.cpu()
        wanted = self.targets(rows).to(logits.device)
        losses = -(1 - self.plain) * (wanted * log_softmax(logits, dim=1)).sum(dim=1)
        if batch.weak is not None:
            losses = losses - self.plain * (wanted * log_softmax(student(batch.weak), dim=1)).sum(dim=1)
        return self.weights[rows].to(logits.device) @ losses, logits

    def stepped(self, student: TunedStudent) -> None:
        self.average.step(student)

    def finish(self, student: TunedStudent) -> None:
        student.put(self.average.values)

    def state(self) -> dict[str, Tensor]:
        return self.average.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.average.load(state)


def weights(teacher: TopClasses, zero_shot: TopClasses, *, classes: int, weighting: Weighting) -> Tensor:
    """A weight an image, float32 [N], 1 on the mean, so that the learning rate means the same with every weighting.

    `confidence`: of the teacher in its answer. `agreement`: the probability that teacher and text classifier, each drawing a
    class from its distribution, draw the same. `none`: 1.
    """
    if weighting == "none":
        return torch.ones(len(teacher))
    if weighting == "confidence":
        raw = teacher.probabilities[:, 0].clone()
    else:
        blocks = torch.arange(len(teacher)).split(BLOCK)
        raw = torch.cat([(teacher.dense(rows, classes) * zero_shot.dense(rows, classes)).sum(dim=1) for rows in blocks])
    return raw / raw.mean().clamp_min(torch.finfo(torch.float32).tiny)
