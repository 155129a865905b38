"""Classification by description: the mean cosine over a class's descriptors, and which of them fired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nola_core.methods.method import Fitted, TextMethod

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Texts


class Described(TextMethod):
    """Menon and Vondrick's classifier: the score of a class is the mean of `x . d` over its descriptions d.

    It needs descriptions; a class without any has its templates. Each answer can be explained by the descriptions that are
    most similar to the image. Sentences that fit several classes cost accuracy.
    """

    name = "described"
    title = "By description"
    summary = "mean similarity of the image to each of the class's descriptions"
    paper = "Menon and Vondrick, Visual Classification via Description from Large Language Models, ICLR 2023, section 2.1"

    def texts(self, texts: Texts, options: Any) -> list[list[str]]:
        return [mine or filled for mine, filled in zip(texts.descriptions, texts.templates, strict=True)]

    def fit(self, texts: Texts, *, options: Any) -> Fitted:
        from nola_core import descriptors

        return descriptors.build(texts.encode, self.texts(texts, options), names=texts.names, logit_scale=texts.logit_scale)

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core import descriptors

        return descriptors.DescriptorClassifier.restore(tensors)


METHOD = Described()
