"""Text classifiers: class names in templates, and the class-description embedding (CDE) of NoLA's first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra.rowwise import product
from nola_core.errors import NolaError
from nola_core.methods.method import Encode, Fitted


def fill(templates: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Every template with every class name filled in: a list of texts a class."""
    return [[template.replace("{}", name) for template in templates] for name in names]


def encoded(encode: Encode, texts: Sequence[Sequence[str]], *, names: Sequence[str]) -> list[Tensor]:
    """The features of each class's texts. All go through the encoder in one list, each distinct text once.

    Args:
        texts: one non-empty list of texts a class.
        names: class names, for messages.

    Returns:
        float32 [texts of the class, d] for each class, unit rows.

    Raises:
        NolaError: a class without a text, or features that are not finite.
    """
    for name, group in zip(names, texts, strict=True):
        if not group:
            raise NolaError(f"class '{name}' has no text to be recognised by; add a template or a description.")
    distinct = list(dict.fromkeys(text for group in texts for text in group))
    position = {text: row for row, text in enumerate(distinct)}
    features = normalize(encode(distinct).float(), dim=-1)
    if not torch.isfinite(features).all():
        row = int((~torch.isfinite(features).all(dim=1)).nonzero()[0, 0])
        raise NolaError(f"the text encoder gives NaN or infinite features for the text '{distinct[row]}'; look at its weights.")
    return [features[[position[text] for text in group]] for group in texts]


def build(encode: Encode, texts: Sequence[Sequence[str]], *, names: Sequence[str]) -> Tensor:
    """Phi of METHODS section 1: encode each text, L2-normalise, average over the class, L2-normalise again.

    Returns:
        float32 [C, d], unit rows. Arguments and errors as of `encoded`.
    """
    return normalize(torch.stack([rows.mean(dim=0) for rows in encoded(encode, texts, names=names)]), dim=-1)


def remembered(encode: Encode) -> Encode:
    """`encode` with a memory: over all calls each distinct text is encoded once."""
    rows: dict[str, Tensor] = {}

    def recall(texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows.update(zip(new, encode(new), strict=True))
        return torch.stack([rows[text] for text in texts])

    return recall


@dataclass(frozen=True)
class TextClassifier(Fitted):
    """Class embeddings in CLIP's space, and the scale of the logits.

    Attributes:
        weights: float32 [C, d], L2-normalised.
        logit_scale: s of CLIP, about 100.
    """

    weights: Tensor
    logit_scale: float
    spaces = ("clip",)

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        """softmax(s * x phi^T) of CLIP features; see `Fitted.predict`."""
        return (self.logit_scale * product(features["clip"], self.weights)).softmax(dim=-1)

    def cooled(self, temperature: float) -> Self:
        """The same answers with logits divided by a temperature above 0."""
        return replace(self, logit_scale=self.logit_scale / temperature)

    def tensors(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "logit_scale": torch.tensor(self.logit_scale, dtype=torch.float64)}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor]) -> TextClassifier:
        """From `tensors()`."""
        return cls(tensors["weights"], float(tensors["logit_scale"]))
