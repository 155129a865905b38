"""Prompt tokens of their own for each of the first blocks of a vision transformer: deep VPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from nola_core.errors import NolaError
from nola_core.students.parts.part import INPUT, Part, Setting
from nola_core.students.prompting import DeepPromptedTower, takes_tokens, uniform_tokens, vision_blocks

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip


class DeepTokens(Part):
    """`deep_tokens` [L, M, width]; see `DeepPromptedTower`.

    Block i of the first L reads [class token, P_i, patches] of the outputs of block i - 1; what that made of P_(i-1) is dropped.
    """

    name = "deep_tokens"
    summary = "prompt tokens at the input of each of the first blocks of the vision transformer"
    paper = "Jia et al., Visual Prompt Tuning, 2022, section 3.2, VPT-deep"
    changes = (INPUT,)

    def __init__(self, tower: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = nn.Parameter(tokens)
        self.tower = DeepPromptedTower(tower, lambda: self.tokens)

    @classmethod
    def make(cls, setting: Setting) -> Self:
        tower, options = setting.clip.image.module, setting.options
        check_takes_tokens(setting.clip, cls.name)
        depth = min(options.prompt_depth, len(vision_blocks(tower)))
        return cls(tower, uniform_tokens(tower, (depth, options.prompt_tokens), setting.generator))

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        if "deep_tokens" not in tensors:
            return None
        check_takes_tokens(clip, cls.name)
        return cls(clip.image.module, tensors["deep_tokens"].clone())

    def vision(self) -> nn.Module:
        return self.tower

    def trained(self) -> dict[str, nn.Parameter]:
        return {"deep_tokens": self.tokens}


def check_takes_tokens(clip: Clip, name: str) -> None:
    """Raise NolaError if the vision tower takes no tokens."""
    if not takes_tokens(clip.image.module):
        raise NolaError(
            f"tune names {name}, but the vision tower of {clip.image.meta['model']} is no transformer that takes tokens; "
            "name frame, norms or classifier."
        )
