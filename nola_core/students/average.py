"""A moving average of what a student learns: steadier than its last step, and a teacher that changes slowly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nola_core.students.objective import averaged

if TYPE_CHECKING:
    from nola_core.students.student import TunedStudent

PREFIX = "average."
STEPS = "average_steps"


class Average:
    """The exponential moving average of a student's parameters, for objectives to keep.

    After step t the decay is min(decay, (1 + t) / (10 + t)), so that the average of a short tuning is not that of its start.

    Args:
        decay: in [0, 1); with 0 the average is the student itself.

    Attributes:
        values: name -> average, under the names of `TunedStudent.trained`; empty before `start`.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values: dict[str, Tensor] = {}

    def start(self, student: TunedStudent) -> None:
        """Begin with the student as it is, unless the average has begun."""
        if not self.values:
            self.values = student.values()

    def step(self, student: TunedStudent) -> None:
        """Take up the student after a step."""
        self.steps += 1
        averaged(self.values, student.trained(), decay=min(self.decay, (1 + self.steps) / (10 + self.steps)))

    def state(self) -> dict[str, Tensor]:
        """For checkpoints, under names that begin with `average`."""
        return {f"{PREFIX}{name}": value for name, value in self.values.items()} | {STEPS: torch.tensor(self.steps)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state()`."""
        self.values = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        self.steps = int(state[STEPS])
