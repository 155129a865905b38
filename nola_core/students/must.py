"""MUST: the student's own moving average teaches it, on the deterministic view, with even use of all classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nola_core.students.average import Average
from nola_core.students.objective import Batch, Epoch, Objective

if TYPE_CHECKING:
    from nola_core.students.images import Loader
    from nola_core.students.student import TunedStudent

MEMORY = 0.9
"""Decay of the running mean of the teacher's batch means."""
SHARE = 0.5
"""Of a batch's mean in the fairness term where a batch is small for the number of classes; the rest is the batches' before."""
EPSILON = 1e-6


class Must(Objective):
    """Cross-entropy with the answers of the moving average, and a fairness term (Li et al., 2023, equations 1 to 4).

    The teacher is the moving average, on the deterministic view. Its probabilities are divided by the running mean of its batch
    means (`aligned`), and its first answers are the targets. The masked image modelling of the paper is left out.

    Args:
        classes: C.
        alignment: exponent of the running mean, in [0, 1]; 0: no alignment.
        weighting: `threshold`: only targets at least as confident as `threshold` count, and their losses are averaged;
            `confidence`: each counts by the teacher's confidence.
        threshold: in [0, 1).
        fairness: weight of -mean_c log(mean of the student's p_c over the batch).
        decay: of the moving average, which is also the result.
    """

    weak = True
    whole = True

    def __init__(
        self,
        *,
        classes: int,
        alignment: float,
        weighting: Literal["threshold", "confidence"],
        threshold: float,
        fairness: float,
        decay: float,
    ) -> None:
        self.alignment, self.weighting, self.threshold, self.fairness = alignment, weighting, threshold, fairness
        self.average = Average(decay)
        self.running = torch.full((classes,), 1 / classes)
        self._before: Tensor | None = None

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        self.average.start(student)
        self._before = None
        return Epoch()

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        confidence, targets = self.teach(student, batch)
        logits: Tensor = student(batch.strong)
        weights = confidence if self.weighting == "confidence" else (confidence >= self.threshold).float()
        losses = weights * cross_entropy(logits, targets, reduction="none")
        taught = losses.sum() / (len(weights) if self.weighting == "confidence" else weights.sum().clamp_min(1))
        return len(logits) * (taught + self.fairness * self.unfairness(logits.softmax(dim=1))), logits

    @torch.no_grad()
    def teach(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        """The teacher's confidence and class for every image, float32 and int64 [B]."""
        assert batch.weak is not None
        with student.using(self.average.values):
            p: Tensor = student(batch.weak).softmax(dim=1)
        self.running = self.running.to(p.device).lerp(p.mean(dim=0), 1 - MEMORY)
        best = aligned(p, self.running, strength=self.alignment).max(dim=1)
        return best.values, best.indices

    def unfairness(self, p: Tensor) -> Tensor:
        """-mean_c log(mean_i p_ic), a scalar.

        With less than two images a class the mean is that of the batches before, too, as in the paper: half the new batch, and
        the gradient doubled in return.
        """
        mean, share = p.mean(dim=0), 1.0
        if len(p) < 2 * p.shape[1]:
            if self._before is not None:
                mean, share = self._before.lerp(mean, SHARE), SHARE
            self._before = mean.detach()
        return -(mean + EPSILON).log().mean() / share

    def stepped(self, student: TunedStudent) -> None:
        self.average.step(student)

    def finish(self, student: TunedStudent) -> None:
        student.put(self.average.values)

    def state(self) -> dict[str, Tensor]:
        return {**self.average.state(), "running": self.running}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.average.load(state)
        self.running = state["running"]


def aligned(p: Tensor, running: Tensor, *, strength: float) -> Tensor:
    """Probabilities [B, C] divided by (C times the running mean) to the power of `strength`, rows summing to 1 again.

    With 1 they are as if every class occurred equally often (Berthelot et al., ReMixMatch, 2020, section 3.1, uniform classes).
    """
    raised = p / (running * len(running) + EPSILON) ** strength
    return raised / raised.sum(dim=1, keepdim=True)
