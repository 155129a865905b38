"""Pseudo-labels of the most confident images of every class, made once or anew in every round (UPL; FPL, IFPL and GRIP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nola_core.errors import NolaError
from nola_core.students.lesson import TopClasses
from nola_core.students.objective import Batch, Epoch, Objective

if TYPE_CHECKING:
    from nola_core.students.images import Loader
    from nola_core.students.student import TunedStudent

BATCH = 64  # images labelled at a time
UNLABELLED = -1


class Rounds(Objective):
    """Cross-entropy with the pseudo-labels of the current round, on the images that have one.

    The first round's pseudo-labels are the text classifier's. Later ones are those of the student at the end of the round before,
    on the deterministic view; then the student begins again as it was before the first round.

    Args:
        zero_shot: the text classifier's answers.
        sizes: pseudo-labels a class at most, one number a round.
        epochs: of all rounds together, shared out evenly.
        section: of params.yaml that holds the options, for messages.

    Raises:
        NolaError: more rounds than epochs.
    """

    def __init__(self, zero_shot: TopClasses, *, sizes: Sequence[int], epochs: int, section: str) -> None:
        if epochs < len(sizes):
            raise NolaError(f"{section}.epochs is {epochs}, but {section} has {len(sizes)} rounds; give each at least one epoch.")
        self.zero_shot, self.sizes = zero_shot, list(sizes)
        self.ends = [epochs * (number + 1) // len(sizes) for number in range(len(sizes))]
        self.labels = torch.full((len(zero_shot),), UNLABELLED)

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        number = next(number for number, end in enumerate(self.ends) if epoch <= end)
        before = self.ends[number - 1] if number else 0
        first = epoch == before + 1
        if first:
            top = predictions(student, loader) if number else self.zero_shot
            self.labels = most_confident(top.classes[:, 0], top.probabilities[:, 0], k=self.sizes[number])
        rows = (self.labels != UNLABELLED).nonzero()[:, 0]
        return Epoch(rows, restart=first and number > 0, place=(epoch - before, self.ends[number] - before))

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        logits: Tensor = student(batch.strong)
        return cross_entropy(logits, self.labels[batch.rows.cpu()].to(logits.device), reduction="sum"), logits

    def state(self) -> dict[str, Tensor]:
        return {"labels": self.labels}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.labels = state["labels"].cpu()


def most_confident(classes: Tensor, confidence: Tensor, *, k: int) -> Tensor:
    """The classes of the k most confident images of every predicted class, `UNLABELLED` for all others: int64 [N].

    Equally confident images count in their order. A class that is predicted for fewer images has fewer, and none takes images
    that are predicted as another: a name that does not occur shall teach nothing.

    Args:
        classes: int64 [N], predicted.
        confidence: float32 [N].
    """
    predicted = classes.numpy()
    order = np.lexsort((np.arange(len(predicted)), -confidence.numpy(), predicted))
    grouped = predicted[order]
    rank = np.arange(len(grouped)) - np.searchsorted(grouped, grouped, side="left")
    labels = torch.full((len(predicted),), UNLABELLED)
    chosen = torch.from_numpy(order[rank < k])
    labels[chosen] = classes[chosen]
    return labels


@torch.no_grad()
def predictions(student: TunedStudent, loader: Loader) -> TopClasses:
    """The student's first answer for the deterministic view of every image."""
    place = next(iter(student.trained().values())).device
    batches = torch.arange(len(loader.images.ids)).split(BATCH)
    best = [student(views.to(place)).softmax(dim=1).max(dim=1) for _, views in loader.weak(batches)]
    classes, confidence = torch.cat([one.indices for one in best]), torch.cat([one.values for one in best])
    return TopClasses(classes.cpu()[:, None], confidence.cpu()[:, None])
