"""What a part of a student is: parameters of one kind, put into a CLIP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip
    from nola_core.students.options import Options


RECORD = "text."
"""Prefix of stored tensors that prediction does not need: the classifier holds what it needs of the text tower."""
INPUT = "the input of the vision tower"
CLASSES = "the class embeddings"
MATRICES = "the attention and MLP matrices"
NORMS = "the normalisation layers"


@dataclass(frozen=True)
class Setting:
    """What a part is made from.

    Attributes:
        clip: the frozen CLIP, changed in place by some parts.
        classifier: float32 [C, d], the text classifier the student starts from.
        names: of the classes, for parts that put words of their own before them.
        texts: a text a class, such as "a photo of a cat.", for parts that change how the text tower encodes it.
        options: sizes and depths.
        generator: of everything that is drawn.
    """

    clip: Clip
    classifier: Tensor
    names: Sequence[str]
    texts: Sequence[str]
    options: Options
    generator: torch.Generator


class Part(nn.Module, ABC):
    """Learnable parameters of one kind in one place of CLIP.

    A part is made (`make`) before the tuning, or again from what a student stored (`restore`), which needs no text.

    Attributes:
        name: in the option `tune`.
        summary: where the parameters sit, for people.
        paper: where it comes from.
        merges: whether plain CLIP weights can take it up, so that open_clip alone can load the tuned tower.
        changes: `INPUT`, `CLASSES`, `MATRICES`, `NORMS`: what it has to itself; two parts of a student cannot share one of them.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str] = ""
    merges: ClassVar[bool] = False
    changes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def make(cls, setting: Setting) -> Self:
        """A new part. Parameters begin so that the student predicts what CLIP does, where the paper allows it.

        Raises:
            NolaError: the towers of this CLIP cannot take it.
        """

    @classmethod
    @abstractmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        """The part whose `stored` tensors are among these, or None.

        Raises:
            NolaError: they do not fit the towers.
        """

    @abstractmethod
    def trained(self) -> dict[str, nn.Parameter]:
        """What is learnt, by the names under which checkpoints hold it."""

    def stored(self) -> dict[str, Tensor]:
        """What prediction needs of it: by default all that was learnt. Names under `text.` are for the record alone."""
        return dict(self.trained())

    def vision(self) -> nn.Module | None:
        """What replaces the vision tower, images [B, 3, H, W] -> features [B, d], from a part that changes how it is computed."""
        return None

    def classes(self) -> Tensor | None:
        """Class embeddings [C, d], with their gradient, from a part that changes how texts are encoded; None from all others."""
        return None

    def merge(self) -> None:
        """Write the part into the plain weights of its CLIP, after the tuning. Only of parts that say `merges`."""
        raise NotImplementedError(self.name)
