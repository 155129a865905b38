"""Learnable words in the first blocks of the text tower, and vision tokens that are projections of them: MaPLe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from nola_core.students.parts.context import STD, first_words, with_room
from nola_core.students.parts.deep_tokens import check_takes_tokens
from nola_core.students.parts.part import CLASSES, INPUT, Part, Setting
from nola_core.students.prompting import DeepPromptedTower, token_width, vision_blocks
from nola_core.students.text_tower import TextTower

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip


class Coupled(Part):
    """Words P_i [m, width of text] of the first J blocks of both towers, and vision tokens F_i(P_i) = P_i W_i^T + b_i.

    Those of the first block begin as "a photo of a" where there are four; the others begin at random, so that the student begins
    near zero-shot and not at it. Prediction needs `deep_tokens` and the class embeddings that came of the words.
    """

    name = "coupled"
    summary = "words in the first blocks of the text tower, and projections of them as tokens of the vision transformer"
    paper = "Khattak et al., MaPLe: Multi-modal Prompt Learning, 2023, section 3.2"
    changes = (INPUT, CLASSES)

    def __init__(self, vision: nn.Module, text: TextTower, tokens: Tensor, words: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.text = text
        self.tokens: Tensor
        self.register_buffer("tokens", tokens, persistent=False)
        self.words, self.weight, self.bias = nn.Parameter(words), nn.Parameter(weight), nn.Parameter(bias)
        self.tower = DeepPromptedTower(vision, self.projected)

    @classmethod
    def make(cls, setting: Setting) -> Self:
        check_takes_tokens(setting.clip, cls.name)
        vision, text = setting.clip.image.module, TextTower(setting.clip)
        count, generator = setting.options.context_tokens, setting.generator
        depth = min(setting.options.prompt_depth, len(vision_blocks(vision)), len(text.blocks))
        first = first_words(text, count, generator)
        deeper = STD * torch.randn(depth - 1, count, text.width, generator=generator)
        words = torch.cat([first[None], deeper.to(first.device)])
        bound = 1 / math.sqrt(text.width)  # nn.Linear's
        weight, bias = (
            (2 * torch.rand(shape, generator=generator) - 1) * bound
            for shape in ((depth, token_width(vision), text.width), (depth, token_width(vision)))
        )
        tokens = with_room(text, setting.names, count)
        return cls(vision, text, tokens, words, weight.to(first.device), bias.to(first.device))

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        return None  # what prediction needs are deep tokens and the classifier

    def projected(self) -> Tensor:
        """The vision tokens of every block, float32 [J, m, width of vision]."""
        return torch.baddbmm(self.bias[:, None], self.words, self.weight.transpose(1, 2))

    def trained(self) -> dict[str, nn.Parameter]:
        return {"text.coupled.words": self.words, "text.coupled.weight": self.weight, "text.coupled.bias": self.bias}

    def stored(self) -> dict[str, Tensor]:
        return {"deep_tokens": self.projected(), **self.trained()}

    def vision(self) -> nn.Module:
        return self.tower

    def classes(self) -> Tensor:
        return self.text.encode(self.tokens, self.words)
