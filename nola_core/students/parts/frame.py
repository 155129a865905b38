"""Learnable pixels around the image, for towers that take no tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from nola_core.students.parts.part import INPUT, Part, Setting
from nola_core.students.prompting import FramedTower

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip


class Frame(Part):
    """`frame` [3, n]; see `FramedTower`."""

    name = "frame"
    summary = "pixels added around the image, of any vision tower"
    paper = "Bahng et al., Exploring Visual Prompts for Adapting Large-Scale Models, 2022"
    changes = (INPUT,)

    def __init__(self, tower: FramedTower, share: float) -> None:
        super().__init__()
        self.tower, self.share = tower, share

    @classmethod
    def make(cls, setting: Setting) -> Self:
        share = setting.options.prompt_frame
        return cls(FramedTower(setting.clip.image.module, width=share), share)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        if "frame" not in tensors:
            return None
        share = float(tensors["prompt_frame"])
        part = cls(FramedTower(clip.image.module, width=share), share)
        with torch.no_grad():
            part.tower.frame.copy_(tensors["frame"])
        return part

    def vision(self) -> nn.Module:
        return self.tower

    def trained(self) -> dict[str, nn.Parameter]:
        return {"frame": self.tower.frame}

    def stored(self) -> dict[str, Tensor]:
        return {**self.trained(), "prompt_frame": torch.tensor(self.share, dtype=torch.float64)}
