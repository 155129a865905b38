"""Learnable words before every class name: CoOp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from nola_core.errors import NolaError
from nola_core.students.parts.part import CLASSES, Part, Setting
from nola_core.students.text_tower import TextTower

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip

WORDS = "a photo of a"
STD = 0.02
"""Of words that are drawn; CoOp's."""


class Context(Part):
    """`text.context` [m, width]: the words v of the text [v_1] ... [v_m] [class name]., the same for all classes.

    Four words begin as "a photo of a", so that the student begins as zero-shot with "a photo of a {}."; others begin at random.
    Prediction needs the class embeddings that came of them alone.
    """

    name = "context"
    summary = "words before the class name, in the text tower"
    paper = "Zhou et al., Learning to Prompt for Vision-Language Models, 2022, section 3.2, unified context"
    merges = True
    changes = (CLASSES,)

    def __init__(self, tower: TextTower, tokens: Tensor, words: Tensor) -> None:
        super().__init__()
        self.text = tower
        self.tokens: Tensor
        self.register_buffer("tokens", tokens, persistent=False)
        self.words = nn.Parameter(words)

    @classmethod
    def make(cls, setting: Setting) -> Self:
        tower, count = TextTower(setting.clip), setting.options.context_tokens
        return cls(tower, with_room(tower, setting.names, count), first_words(tower, count, setting.generator))

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        return None  # what prediction needs is the classifier

    def trained(self) -> dict[str, nn.Parameter]:
        return {"text.context": self.words}

    def classes(self) -> Tensor:
        return self.text.encode(self.tokens, self.words[None])

    def merge(self) -> None:
        pass  # the classifier goes beside the weights of CLIP


def with_room(tower: TextTower, names: Sequence[str], count: int) -> Tensor:
    """Token ids of "{name}." with `count` places before it, int64 [C, L].

    Raises:
        NolaError: no class names, or one so long that the end would be lost.
    """
    if not names:
        raise NolaError("learnable words need the class names; give TunedStudent.make its names.")
    tokens, first = tower.tokens([f"{name}." for name in names]), tower.first
    padding, word = tower.tokens(["a"])[0, [-1, first]]
    lost = (tokens[:, -count:] != padding).any(dim=1)
    if lost.any():
        name = names[int(lost.nonzero()[0, 0])]
        raise NolaError(
            f"class '{name}' is too long for {count} words before it; give it a shorter name or lower context_tokens."
        )
    places = word.expand(len(tokens), count)
    return tower.shortened(torch.cat([tokens[:, :first], places, tokens[:, first : tokens.shape[1] - count]], dim=1))


@torch.no_grad()
def first_words(tower: TextTower, count: int, generator: torch.Generator) -> Tensor:
    """The embeddings that learnable words begin with, float32 [count, width]."""
    first, ids = tower.first, tower.tokens([WORDS, f"{WORDS} photo"])
    differ = int((ids[0] != ids[1]).nonzero()[0, 0])  # behind the last word of WORDS
    if differ - first == count:
        return tower.embedded(ids[0, first:differ]).clone()
    return (STD * torch.randn(count, tower.width, generator=generator)).to(ids.device)
