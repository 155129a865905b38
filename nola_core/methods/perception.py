"""PerceptionCLIP: infer the context of an image (background, orientation, light), then classify given the context."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from nola_core.methods.method import Fitted, TextMethod
from nola_core.schema import Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Texts

MOST = 256
"""Contexts, at most: every class has a text for each."""


ATTRIBUTES = {
    "background": ["", "on a plain background", "in a cluttered scene"],
    "orientation": ["", "upside down", "rotated"],
    "illumination": ["", "in bright light", "in the dark"],
}
"""What an image may differ in whatever its class is, as in the paper."""


class Options(Section):
    """Section `perception` of params.yaml."""

    attributes: dict[str, list[str]] = Field(default=ATTRIBUTES)
    """Attribute -> its values, as words that follow the sentence; empty: nothing is said. A context has one value of each."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the inferred contexts: the scores are divided by it. Large: all contexts count alike."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        for name, values in self.attributes.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"perception.attributes.{name} must hold at least one value, and each once")
        if (count := len(contexts(self))) > MOST:
            raise ValueError(f"perception.attributes make {count} contexts; use at most {MOST}")
        return self


def contexts(options: Options) -> list[str]:
    """Every combination of values, as it follows a sentence: `, upside down, in the dark`."""
    return ["".join(f", {value}" for value in values if value) for values in product(*options.attributes.values())]


class Perception(TextMethod):
    """`p(y | x) = sum_z p(z | x) p(y | x, z)` over contexts z such as "upside down, in the dark".

    The context is inferred from the same texts: `p(z | x)` is proportional to `sum_c exp(s x . phi_zc)^(1 / temperature)`. It
    needs nothing but the names, and a text for every class in every context. It helps where images differ in what
    `attributes` names. It has no single embedding a class, so students and most feature methods cannot start from it.
    """

    name = "perception"
    title = "PerceptionCLIP"
    summary = "CLIP that first infers background, orientation and light from texts, then classifies given these"
    paper = "An et al., PerceptionCLIP: Visual Classification by Inferring and Conditioning on Contexts, ICLR 2024, section 5"
    section = Options
    embeds = False

    def texts(self, texts: Texts, options: Options) -> list[list[str]]:
        return [[in_context(filled[0], context) for context in contexts(options)] for filled in texts.templates]

    def fit(self, texts: Texts, *, options: Options) -> Fitted:
        import torch

        from nola_core import text_classifier

        groups = self.texts(texts, options)
        return Contextual(
            {
                "embeddings": torch.stack(text_classifier.encoded(texts.encode, groups, names=texts.names), dim=1),
                "logit_scale": torch.tensor(texts.logit_scale, dtype=torch.float64),
                "temperature": torch.tensor(options.temperature, dtype=torch.float64),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Contextual(tensors)


def in_context(sentence: str, context: str) -> str:
    """`a photo of a dog.` and `, in the dark` -> `a photo of a dog, in the dark.`."""
    body = sentence.rstrip(".")
    return f"{body}{context}{sentence[len(body) :]}"


class Contextual(Fitted):
    """Embeddings of every class in every context, float32 [Z, C, d]; p(z | x) is proportional to sum_c exp(s x . phi_zc)."""

    spaces = ("clip",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self.embeddings = tensors["embeddings"]
        self.logit_scale, self.temperature = float(tensors["logit_scale"]), float(tensors["temperature"])

    def inferred(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """p(z | x), float32 [B, Z], and p(y | x, z), float32 [B, Z, C], of CLIP features float32 [B, d]."""
        from nola_core.algebra.rowwise import product

        count, classes, dim = self.embeddings.shape
        scores = self.logit_scale * product(features, self.embeddings.view(-1, dim)).view(-1, count, classes)
        total = scores.logsumexp(dim=2)
        return (total / self.temperature).softmax(dim=1), scores.sub_(total[:, :, None]).exp_()

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        context, given = self.inferred(features["clip"])
        return (context[:, :, None] * given).sum(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = Perception()
