"""Prompt tokens before the first block of a vision transformer: shallow VPT, NoLA's choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from nola_core.students.parts.part import INPUT, Part, Setting
from nola_core.students.prompting import PromptedTower

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip


class Tokens(Part):
    """`tokens` [M, width]; see `PromptedTower`."""

    name = "tokens"
    summary = "prompt tokens before the first block of the vision transformer"
    paper = "Jia et al., Visual Prompt Tuning, 2022, VPT-shallow"
    changes = (INPUT,)

    def __init__(self, tower: PromptedTower) -> None:
        super().__init__()
        self.tower = tower

    @classmethod
    def make(cls, setting: Setting) -> Self:
        module, options = setting.clip.image.module, setting.options
        return cls(PromptedTower(module, count=options.prompt_tokens, generator=setting.generator))

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        if "tokens" not in tensors:
            return None
        part = cls(PromptedTower(clip.image.module, count=len(tensors["tokens"])))
        with torch.no_grad():
            part.tower.tokens.copy_(tensors["tokens"])
        return part

    def vision(self) -> nn.Module:
        return self.tower

    def trained(self) -> dict[str, nn.Parameter]:
        return {"tokens": self.tower.tokens}
