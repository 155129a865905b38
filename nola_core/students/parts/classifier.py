"""The class embeddings themselves, free of any text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from nola_core.students.parts.part import CLASSES, Part, Setting

if TYPE_CHECKING:
    from nola_core.backbones.clip import Clip


class ClassEmbeddings(Part):
    """`classifier` [C, d], which begins as the text classifier."""

    name = "classifier"
    summary = "the class embeddings themselves"
    merges = True
    changes = (CLASSES,)

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.clone())

    @classmethod
    def make(cls, setting: Setting) -> Self:
        return cls(setting.classifier)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip) -> Self | None:
        return None  # every student stores its classifier, and a restored one learns no more

    def trained(self) -> dict[str, nn.Parameter]:
        return {"classifier": self.weights}

    def classes(self) -> Tensor:
        return self.weights

    def merge(self) -> None:
        pass  # the classifier goes beside the weights of CLIP
