"""Every weight of both towers: fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from nola_core.students.parts.part import MATRICES, NORMS, Part, Setting

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip

PREFIX, TEXT, VISUAL = "all.", "text.all.", "visual."
SCALE = ("logit_scale", "logit_bias")


class AllWeights(Part):
    """`all.<name in the vision tower>` and `text.all.<name in CLIP>`, CLIP's own parameters, changed in place.

    The text tower learns where the objective encodes texts with it; elsewhere its weights stay as they were. CLIP's scale is
    no part of them. A stored student holds all of them and is as large as CLIP itself.
    """

    name = "all"
    summary = "every weight of both towers"
    merges = True
    changes = (MATRICES, NORMS)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._weights: dict[str, nn.Parameter] = {
            (PREFIX + name.removeprefix(VISUAL) if name.startswith(VISUAL) else TEXT + name): parameter
            for name, parameter in model.named_parameters()
            if name not in SCALE
        }

    @classmethod
    def make(cls, setting: Setting) -> Self:
        return cls(setting.clip.model)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        if not any(name.startswith(PREFIX) for name in tensors):
            return None
        part = cls(clip.model)
        with torch.no_grad():
            for name, parameter in part.trained().items():
                parameter.copy_(tensors[name])
        return part

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self._weights)

    def merge(self) -> None:
        pass  # they are CLIP's own
