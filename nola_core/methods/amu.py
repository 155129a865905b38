"""AMU-Tuning: a logit bias from self-supervised features, the larger the less certain the zero-shot answer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Rate, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `amu` of params.yaml."""

    space: str = "ssl"
    """The auxiliary features."""
    weight: float = Field(default=1.0, ge=0)
    """Of the bias; 0 is zero-shot."""
    power: float = Field(default=0.5, ge=0)
    """Of the uncertainty; 0 weighs all images alike."""
    auxiliary: float = Field(default=0.5, ge=0, le=1)
    """Share of the head's own loss; the rest is the loss of the sum."""
    steps: Positive = 500
    batch_size: Positive = 256
    learning_rate: Rate = 0.01
    weight_decay: float = Field(default=0.1, ge=0, lt=1)


class Amu(FeatureMethod):
    """`logits = s x phi^T + weight * u(x) * (W g + b)`, with `u(x) = (median kurtosis / kurtosis of the zero-shot logits)^power`.

    W and b are a linear head on a second space, trained on the pseudo-labelled images. Logits with one high peak have a high
    kurtosis, so the head counts most where the text is uncertain. It gains where the second space separates the classes
    better than CLIP's, and loses where most of the names do not occur. The paper trains W on a few labelled images and uses
    the kurtosis as it is; divided by its median, the weight does not depend on the number of classes.
    """

    name = "amu"
    title = "AMU"
    summary = "linear head on self-supervised features, added to the zero-shot logits where these are uncertain"
    paper = "Tang et al., AMU-Tuning: Effective Logit Bias for CLIP-based Few-shot Learning, CVPR 2024, section 3.3"
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch
        from torch.nn.functional import cross_entropy

        from nola_core.algebra import blocks, posterior
        from nola_core.device import one_thread

        text, logits = posterior.of_all(collection)
        auxiliary = blocks.chosen(collection, [options.space])[options.space]
        places = collection.positions(collection.pseudo_labels["image_id"])
        targets = torch.from_numpy(collection.pseudo_labels["class_id"].to_numpy(dtype="int64", copy=True))
        peaked = kurtosis(logits)
        median = peaked.median()
        given = logits[torch.from_numpy(places)]
        factor = options.weight * uncertainty(peaked[torch.from_numpy(places)], median, options.power)
        del logits, peaked
        classes = len(text.weights)
        weights, bias = torch.zeros(classes, auxiliary.dim), torch.zeros(classes)
        if len(places):
            rows = auxiliary.rows(places)
            mean = rows.mean(dim=0)
            rows = rows - mean
            scale = rows.square().sum(dim=1).mean().sqrt().clamp_min(1e-6)
            rows = rows / scale
            weights.requires_grad_()
            bias.requires_grad_()
            optimizer = torch.optim.AdamW([weights, bias], lr=options.learning_rate, weight_decay=options.weight_decay)
            generator = torch.Generator().manual_seed(seed)
            with one_thread():
                for _ in range(options.steps):
                    batch = torch.randint(len(rows), (min(len(rows), options.batch_size),), generator=generator)
                    head = torch.addmm(bias, rows[batch], weights.T)
                    alone = cross_entropy(head, targets[batch])
                    both = cross_entropy(given[batch] + factor[batch] * head, targets[batch])
                    loss = options.auxiliary * alone + (1 - options.auxiliary) * both
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            weights = weights.detach() / scale
            bias = bias.detach() - weights @ mean
        return Biased(
            {
                **posterior.tensors(text),
                f"{options.space}.weights": weights,
                f"{options.space}.bias": bias,
                "median": median,
                "weight": torch.tensor(options.weight, dtype=torch.float64),
                "power": torch.tensor(options.power, dtype=torch.float64),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Biased(tensors)


def kurtosis(logits: Tensor) -> Tensor:
    """The fourth standardised moment of every row, float32 [N], at least 1; 1 where all logits are equal."""
    import torch

    deviations = logits - logits.mean(dim=1, keepdim=True)
    variance = deviations.square().mean(dim=1)
    fourth = deviations.pow(4).mean(dim=1)
    flat = variance < 1e-10
    return torch.where(flat, 1.0, fourth / variance.square().masked_fill(flat, 1)).clamp_min(1)


def uncertainty(peaked: Tensor, median: Tensor, power: float) -> Tensor:
    """(median / kurtosis)^power, float32 [N, 1], of kurtosis [N]."""
    return (median / peaked).pow(power)[:, None]


class Biased(Fitted):
    """The text's logits and a bias from the other space."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text = posterior.restore(tensors)
        self._space = next(name.removesuffix(".bias") for name in tensors if name.endswith(".bias"))
        self._head = Discriminant(tensors[f"{self._space}.weights"], tensors[f"{self._space}.bias"])
        self._weight, self._power = float(tensors["weight"]), float(tensors["power"])
        self.spaces = tuple(sorted({posterior.SPACE, self._space}))

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        logits = posterior.logits(self._text, features[posterior.SPACE])
        factor = self._weight * uncertainty(kurtosis(logits), self._tensors["median"], self._power)
        return (logits + factor * self._head(features[self._space])).softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = Amu()
