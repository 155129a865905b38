"""What parts share that change the attention and MLP matrices of both towers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nola_core.errors import NolaError
from nola_core.students.parts.part import MATRICES, RECORD, Part, Setting
from nola_core.students.prompting import vision_blocks
from nola_core.students.text_tower import TextTower, open_to_words

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip

Place = tuple[nn.Module, str, int]
"""A module, the name of a matrix in it, and of how many matrices that consists."""
OWNERS = {"classifier", "context", "coupled"}
"""Parts that have the class embeddings to themselves; beside one of them, the vision tower alone learns."""


class Change(nn.Module):
    """W -> W + the learnt change, as `torch.nn.utils.parametrize` wants it: always in float32."""

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.change().reshape(weight.shape)

    @abstractmethod
    def change(self) -> Tensor:
        """float32 [pieces, m, n]."""


class Matrices(Part):
    """Changes of every attention and MLP matrix of the blocks of both towers.

    Queries, keys and values are three matrices, also where the tower packs them into one. The class embeddings are those of a
    text a class, so the student begins as zero-shot with these texts, whatever text classifier its teacher began with. The
    vision tower alone learns beside a part that learns the class embeddings otherwise, or where the text tower is none of
    open_clip's own.

    Stored as `<part>.<block>.<matrix>.<parameter>`, those of the text tower under `text.`. A restored part is merged.
    """

    merges = True
    changes = (MATRICES,)

    def __init__(
        self, clip: Clip, *, text: TextTower | None, texts: Sequence[str], make: Callable[[str, Tensor, int], Change]
    ) -> None:
        """Put a change into every matrix; those of the text tower if there is one.

        Args:
            make: name, weight [m, n] and number of the matrices packed in it -> change.

        Raises:
            NolaError: the vision tower is no transformer.
        """
        super().__init__()
        blocks = vision_blocks(clip.image.module)
        if not blocks:
            raise NolaError(
                f"tune names {self.name}, but the vision tower of {clip.image.meta['model']} has no blocks of attention and MLP; "
                "name frame, norms or classifier."
            )
        self._places = {f"{self.name}.{name}": place for name, place in _matrices(blocks).items()}
        if text is not None:
            self._places |= {f"{RECORD}{self.name}.{name}": place for name, place in _matrices(text.blocks).items()}
        self._texts = text if texts else None
        tokens = text.shortened(text.tokens(texts)) if text is not None and texts else torch.empty(0, 0)
        self.tokens: Tensor
        self.register_buffer("tokens", tokens, persistent=False)
        made = []
        for name, (module, key, pieces) in self._places.items():
            weight = getattr(module, key)
            change = make(name, weight.detach(), pieces).to(weight.device)
            parametrize.register_parametrization(module, key, change)
            made.append(change)
        self._changes = nn.ModuleList(made)

    @classmethod
    def make(cls, setting: Setting) -> Self:
        clip, options = setting.clip, setting.options
        both = bool(setting.texts) and not OWNERS & set(options.tune) and open_to_words(clip)
        return cls(
            clip,
            text=TextTower(clip) if both else None,
            texts=setting.texts,
            make=lambda _, weight, pieces: cls.begin(weight, pieces, rank=options.lora_rank, generator=setting.generator),
        )

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        mine = [name for name in tensors if name.removeprefix(RECORD).startswith(f"{cls.name}.")]
        if not mine:
            return None
        text = TextTower(clip) if any(name.startswith(RECORD) for name in mine) else None

        def again(name: str, weight: Tensor, pieces: int) -> Change:
            stored = {key.removeprefix(f"{name}."): tensors[key] for key in mine if key.startswith(f"{name}.")}
            change = cls.again(weight, pieces, stored)
            for key, parameter in change.named_parameters():
                parameter.data.copy_(stored[key])
            return change

        part = cls(clip, text=text, texts=(), make=again)
        part.merge()
        return part

    @classmethod
    @abstractmethod
    def begin(cls, weight: Tensor, pieces: int, *, rank: int, generator: torch.Generator) -> Change:
        """A new change, of no effect, of `pieces` matrices packed into one of shape [pieces * m, n]."""

    @classmethod
    @abstractmethod
    def again(cls, weight: Tensor, pieces: int, stored: Mapping[str, Tensor]) -> Change:
        """A change whose parameters have the shapes of the stored ones."""

    def trained(self) -> dict[str, nn.Parameter]:
        return {
            f"{name}.{key}": parameter
            for name, change in zip(self._places, self._changes, strict=True)
            for key, parameter in change.named_parameters()
        }

    def classes(self) -> Tensor | None:
        return None if self._texts is None else self._texts.encode(self.tokens)

    def merge(self) -> None:
        for module, key, _ in self._places.values():
            if parametrize.is_parametrized(module, key):
                parametrize.remove_parametrizations(module, key, leave_parametrized=True)


def _matrices(blocks: Sequence[nn.Module]) -> dict[str, Place]:
    """The matrices of attention and MLP, by block number and name in the block."""
    found: dict[str, Place] = {}
    for number, block in enumerate(blocks):
        for name, module in block.named_modules():
            if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
                found[f"{number}.{name}.in_proj_weight"] = (module, "in_proj_weight", 3)
            elif isinstance(module, nn.Linear):
                found[f"{number}.{name}.weight"] = (module, "weight", 3 if name.endswith(".qkv") else 1)
    return found
