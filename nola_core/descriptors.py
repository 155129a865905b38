"""Classifiers by descriptors: the mean cosine over a class's texts, with every text kept to explain the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nola_core import text_classifier
from nola_core.methods.method import Encode
from nola_core.text_classifier import TextClassifier


@dataclass(frozen=True)
class DescriptorClassifier(TextClassifier):
    """A text classifier whose weights are the means of its descriptors, not normalised: x . w_c is the mean cosine.

    A class whose descriptors differ much from one another has a shorter weight than in the class-description embedding, so it
    needs an image that is near to many of them.

    Attributes:
        descriptors: float32 [T, d], unit rows, class after class in the order of the class's texts.
        counts: float32 [C], descriptors of each class; at least 1.
    """

    descriptors: Tensor
    counts: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "descriptors": self.descriptors, "counts": self.counts}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor]) -> DescriptorClassifier:
        """From `tensors()`."""
        return cls(tensors["weights"], float(tensors["logit_scale"]), tensors["descriptors"], tensors["counts"])


def build(encode: Encode, texts: Sequence[Sequence[str]], *, names: Sequence[str], logit_scale: float) -> DescriptorClassifier:
    """The classifier of some texts, one non-empty list a class.

    Raises:
        NolaError: a class without a text, or features that are not finite.
    """
    rows = text_classifier.encoded(encode, texts, names=names)
    counts = torch.tensor([float(len(group)) for group in rows])
    return DescriptorClassifier(torch.stack([group.mean(dim=0) for group in rows]), logit_scale, torch.cat(rows), counts)


def fired(
    classifier: DescriptorClassifier, features: Tensor, *, classes: Tensor | None = None, most: int = 3
) -> tuple[Tensor, Tensor]:
    """The descriptors of a class that an image is most similar to: what speaks for this class.

    Args:
        features: float32 [B, d], CLIP features, unit rows.
        classes: int64 [B], the class of each image; None: its prediction.
        most: descriptors an image.

    Returns:
        Places in the list of the class's texts, int64 [B, most], the most similar first; -1 where the class has fewer. And their
        cosines, float32 [B, most], NaN there.
    """
    if classes is None:
        classes = (features @ classifier.weights.T).argmax(dim=1)
    counts = classifier.counts.long()
    starts = counts.cumsum(0) - counts
    places = torch.full((len(features), most), -1)
    cosines = torch.full((len(features), most), torch.nan)
    for class_id in classes.unique().tolist():
        asked = (classes == class_id).nonzero()[:, 0]
        start, count = int(starts[class_id]), int(counts[class_id])
        similar = features[asked] @ classifier.descriptors[start : start + count].T
        best = similar.sort(dim=1, descending=True, stable=True)
        shown = min(most, count)
        places[asked, :shown], cosines[asked, :shown] = best.indices[:, :shown], best.values[:, :shown]
    return places, cosines
