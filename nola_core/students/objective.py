"""What a student learns: the loss of a batch of views, and what changes between epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from nola_core.students.augmentation import STRONG, Recipe

if TYPE_CHECKING:
    from nola_core.students.images import Loader
    from nola_core.students.student import TunedStudent


@dataclass(frozen=True)
class Batch:
    """Views of some train images, on the student's device.

    Attributes:
        rows: int64 [B], the images' numbers.
        strong: float32 [B, 3, H, W], augmented; see `nola_core.students.augmentation`.
        weak: float32 [B, 3, H, W], the deterministic view; None unless the objective asks for it.
    """

    rows: Tensor
    strong: Tensor
    weak: Tensor | None = None


@dataclass(frozen=True)
class Epoch:
    """What is done in one epoch.

    Attributes:
        rows: int64 [n], the images that are seen; None: all.
        restart: whether the student and the optimizer begin again as they were before the first epoch.
        place: the epoch's number, from 1, and how many epochs there are, for the learning rate; None: those of the whole tuning.
    """

    rows: Tensor | None = None
    restart: bool = False
    place: tuple[int, int] | None = None


class Objective(ABC):
    """A loss. The loop calls `begin` before every epoch, `loss` for every batch and `stepped` after every step.

    Attributes:
        weak: whether `loss` reads the deterministic view.
        whole: whether a loss needs its batch at once; otherwise the loop adds up the losses of chunks, to save memory.
        recipe: of the strong view.
    """

    weak: bool = False
    whole: ClassVar[bool] = False
    recipe: ClassVar[Recipe] = STRONG

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        """Before an epoch, the first is 1; the student is in evaluation mode."""
        return Epoch()

    @abstractmethod
    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss summed over the batch, a scalar, and the student's logits of the strong views, [B, C]."""

    def stepped(self, student: TunedStudent) -> None:
        """After a step of the optimizer."""
        return

    def finish(self, student: TunedStudent) -> None:
        """After the last epoch: an objective with a moving average puts it into the student here."""
        return

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the parameters."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state()`."""
        return


class HardTargets(Objective):
    """Label-smoothed cross-entropy with one class an image: NoLA's loss.

    Args:
        targets: int64 [N].
        smoothing: in [0, 1).
    """

    def __init__(self, targets: Tensor, *, smoothing: float) -> None:
        self.targets, self.smoothing = targets, smoothing

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        logits: Tensor = student(batch.strong)
        wanted = self.targets.to(logits.device)[batch.rows]
        return cross_entropy(logits, wanted, label_smoothing=self.smoothing, reduction="sum"), logits


def recomputed(compute: Callable[[Tensor], Tensor], inputs: Tensor, *, size: int) -> Tensor:
    """`compute(inputs)`, row by row, with the activations of `size` rows in memory; of more, they are computed twice."""
    if len(inputs) <= size or not torch.is_grad_enabled():
        return torch.cat([compute(rows) for rows in inputs.split(size)])
    return torch.cat([checkpoint(compute, rows, use_reentrant=False, preserve_rng_state=False) for rows in inputs.split(size)])


@torch.no_grad()
def averaged(average: dict[str, Tensor], values: Mapping[str, Tensor], *, decay: float) -> None:
    """Move an exponential moving average of parameters towards their values, in place."""
    for name, value in values.items():
        average[name].lerp_(value, 1 - decay)
