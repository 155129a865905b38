"""CapS-Adapter: a cache of confident images of each class, whose similarity is added to the zero-shot logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `caps_adapter` of params.yaml."""

    supports: Positive = 16
    """Most confident pseudo-labelled images a class."""
    beta: float = Field(default=5.5, gt=0)
    """How fast the affinity exp(-beta (1 - cos)) falls."""
    weight: float = Field(default=16.0, ge=0)
    """Of the affinities, which lie in [0, 1], beside the text's logits; 0 is zero-shot."""


class CapsAdapter(FeatureMethod):
    """`logits = s x phi^T + weight * mean over the class's supports k of exp(-beta (1 - x . k))`, in CLIP's space.

    The supports are the most confident pseudo-labelled images of a class; in the paper they are generated captions and
    images. The mean stands where the paper sums, so that classes with fewer supports are not at a disadvantage; the default
    weight makes 16 supports count as with the paper's weight 1. It gains where images of a class are alike in CLIP's space
    though its text is off, also with three images a class, and loses where most of the names do not occur.
    """

    name = "caps_adapter"
    title = "CapS-Adapter"
    summary = "similarity to confident images of each class, added to the zero-shot logits"
    paper = "Wang et al., CapS-Adapter: Caption-based MultiModal Adapter in Zero-Shot Classification, ACM MM 2024, section 3.3"
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch
        from torch.nn.functional import one_hot

        from nola_core.algebra import posterior

        text = posterior.classifier(collection.text)
        labels = collection.pseudo_labels.sort_values("confidence", ascending=False, kind="stable")
        labels = labels.groupby("class_id", sort=False).head(options.supports).sort_index()
        keys = collection.spaces[posterior.SPACE].rows(collection.positions(labels["image_id"]))
        owners = one_hot(torch.from_numpy(labels["class_id"].to_numpy(dtype="int64", copy=True)), len(text.weights)).float()
        return Cache(
            {
                **posterior.tensors(text),
                "keys": keys,
                "values": (owners / owners.sum(dim=0).clamp_min(1)).T,
                "beta": torch.tensor(options.beta, dtype=torch.float64),
                "weight": torch.tensor(options.weight, dtype=torch.float64),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Cache(tensors)


class Cache(Fitted):
    """Supports float32 [S, d] and whose they are, float32 [C, S], rows sum to 1 or 0."""

    spaces = ("clip",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text = posterior.restore(tensors)
        self._beta, self._weight = float(tensors["beta"]), float(tensors["weight"])

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior
        from nola_core.algebra.rowwise import product

        x = features[posterior.SPACE]
        affinity = (self._beta * (product(x, self._tensors["keys"]) - 1)).exp()
        return (posterior.logits(self._text, x) + self._weight * product(affinity, self._tensors["values"])).softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = CapsAdapter()
