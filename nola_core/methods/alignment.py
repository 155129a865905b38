"""NoLA's second step: a head on self-supervised features, trained on the most confident answers of the text classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Rate, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `alignment` of params.yaml."""

    hidden: Positive = 256
    """Width of the hidden layer."""
    epochs: Positive = 50
    batch_size: Positive = 32
    learning_rate: Rate = 0.001


class Alignment(FeatureMethod):
    """NoLA's head h(g) = Linear - ReLU - Linear on SSL features g, trained with cross-entropy on the pseudo-labels.

    The text chooses the pseudo-labels and has no further say. So the head gains where SSL features separate the classes
    better than CLIP's, and loses where they are weak, where there are three images a class, and where many of the names do
    not occur.
    """

    name = "alignment"
    title = "Alignment head"
    summary = "head on self-supervised features, trained on the most confident answers of the text classifier"
    paper = "Imam et al., CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections, 2024, section 3.2"
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core import alignment

        chosen = collection.pseudo_labels
        return alignment.train(
            collection.spaces["ssl"].rows(collection.positions(chosen["image_id"])),
            torch.tensor(chosen["class_id"].to_numpy(dtype="int64")),
            classes=len(collection.names),
            options=options,
            seed=seed,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core import alignment

        return alignment.restore(tensors)


METHOD = Alignment()
