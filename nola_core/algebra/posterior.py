"""The text classifier's answers, from which every method on features starts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nola_core.algebra.blocks import Blocks, checked
from nola_core.algebra.rowwise import product
from nola_core.errors import NolaError
from nola_core.methods.collection import Collection
from nola_core.methods.method import Fitted
from nola_core.text_classifier import TextClassifier

SPACE = "clip"


def logits(text: TextClassifier, features: Tensor) -> Tensor:
    """S * x phi^T, float32 [B, C], of CLIP features float32 [B, d]."""
    return text.logit_scale * product(features, text.weights)


def classifier(text: Fitted) -> TextClassifier:
    """A text classifier whose weights can be read.

    Raises:
        NolaError: it is a method of another kind.
    """
    if not isinstance(text, TextClassifier):
        raise NolaError(
            f"this method needs a text classifier with one embedding a class, not {type(text).__name__}; "
            "choose another text_classifier in params.yaml."
        )
    return text


def of_all(collection: Collection, spaces: Mapping[str, Blocks] | None = None) -> tuple[TextClassifier, Tensor]:
    """The text classifier, and its logits for every image, float32 [N, C].

    An image that a person gave to a class has the logits of cosine 1 to it and -1 to the others: the text is sure of it.

    Args:
        spaces: those that have been read already; CLIP's is then not read again.

    Raises:
        NolaError: see `classifier` and `blocks.checked`.
    """
    text, space = classifier(collection.text), collection.spaces[SPACE]
    out = torch.empty(len(space), len(text.weights))
    for rows, block in (spaces or {}).get(SPACE) or checked(space, name=SPACE):
        out[rows] = logits(text, block)
    for image, class_id in collection.given.items():
        out[image] = -text.logit_scale
        out[image, class_id] = text.logit_scale
    return text, out


def tensors(text: TextClassifier) -> dict[str, Tensor]:
    """The text classifier among the tensors of a fitted method."""
    return {f"text.{name}": tensor for name, tensor in text.tensors().items()}


def restore(tensors: Mapping[str, Tensor]) -> TextClassifier:
    """The text classifier from `tensors`."""
    return TextClassifier.restore({name: tensors[f"text.{name}"] for name in ("weights", "logit_scale")})


def normalized(scores: Tensor, fallback: Tensor) -> Tensor:
    """Non-negative scores as probabilities; a row without any score takes that of `fallback`. Both float32 [B, C]."""
    total = scores.sum(dim=1, keepdim=True)
    empty = total < torch.finfo(torch.float32).tiny
    return torch.where(empty, fallback, scores / total.masked_fill(empty, 1))
