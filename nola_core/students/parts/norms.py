"""Scale and shift of every normalisation layer of the vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from nola_core.students.parts.part import NORMS, Part, Setting
from nola_core.students.prompting import norm_parameters

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip

PREFIX = "norm."


class Norms(Part):
    """`norm.<name in the tower>`, the tower's own parameters, changed in place."""

    name = "norms"
    summary = "scales and shifts of the vision tower's normalisation layers"
    merges = True
    changes = (NORMS,)

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self._norms = {f"{PREFIX}{name}": parameter for name, parameter in norm_parameters(tower).items()}

    @classmethod
    def make(cls, setting: Setting) -> Self:
        return cls(setting.clip.image.module)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        if not any(name.startswith(PREFIX) for name in tensors):
            return None
        part = cls(clip.image.module)
        with torch.no_grad():
            for name, parameter in part.trained().items():
                parameter.copy_(tensors[name])
        return part

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self._norms)

    def merge(self) -> None:
        pass  # they are the tower's own
