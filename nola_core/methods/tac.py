"""TAC: a text counterpart of every image beside the image, and Gaussians of the classes over both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection
    from nola_core.text_classifier import TextClassifier


class Options(Section):
    """Section `tac` of params.yaml."""

    texts: Positive = 5
    """Texts a class that the counterparts are made of, beside the class's embedding."""
    temperature: float = Field(default=0.005, gt=0)
    """Of the softmax over the texts."""
    components: Positive = 128
    """Principal components of [x; t]."""
    iterations: Positive = 10
    """Of EM."""
    shrinkage: float = Field(default=0.1, ge=0, le=1)
    """Of the shared covariance towards a sphere."""
    pull: float = Field(default=0.02, gt=0, le=1)
    """Share of uniform in the class proportions."""


PSEUDO_COUNT = 1.0
"""Images at the mean of all that every class has besides its own."""


class Tac(FeatureMethod):
    """`t_i = L2norm(sum_n softmax_n(x_i . n / temperature) n)`, then linear discriminants of [x_i; t_i] by EM from the text.

    The texts n are the class embeddings and, of each class, the descriptions nearest to the mean of the images that the text
    classifier gives it; the paper takes WordNet's nouns nearest to k-means centres. It then clusters [x; t] without names;
    here the discriminants are added to the text's logits, which names the clusters. It reads CLIP's features alone, so it
    neither gains nor loses much; with few descriptions the counterparts say little that the image does not. Beyond 20,000
    images the principal components are those of a sample.
    """

    name = "tac"
    title = "TAC"
    summary = "linear discriminants on the image and its text counterpart, by EM from the text's answers"
    paper = "Li et al., Image Clustering with External Guidance, ICML 2024, section 3.2; classified by LDA instead of k-means"
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, gaussian, posterior
        from nola_core.algebra.proportions import pulled
        from nola_core.algebra.reduction import Reduced

        spaces = blocks.chosen(collection, [posterior.SPACE])
        text, logits = posterior.of_all(collection, spaces)
        images = spaces[posterior.SPACE]
        z = logits.softmax(dim=1)
        texts = near_texts(collection, text, images.weighted_sum(z), options.texts)
        reduced = Reduced.of(
            images,
            options.components,
            seed=seed,
            change=lambda block: beside(block, counterpart(block, texts, options.temperature)),
        )
        y = blocks.of(reduced.features)
        moments = gaussian.Moments.of(y)
        for _ in range(options.iterations):
            counts = z.sum(dim=0, dtype=torch.float64)
            sums = y.weighted_sum(z)
            means = gaussian.means(sums, counts, prior=moments.total / len(y), pseudo_count=PSEUDO_COUNT)
            covariance = gaussian.shrunk(moments.within(sums, counts, means), options.shrinkage, floor=1e-4)
            found = gaussian.discriminant(covariance, means)
            priors = pulled(counts / counts.sum(), options.pull).log().float()
            z = (logits + priors + y.map(found, len(priors))).softmax(dim=1)
        return Counterparts(
            {
                **posterior.tensors(text),
                **reduced.components.tensors(),
                "texts": texts,
                "temperature": torch.tensor(options.temperature, dtype=torch.float64),
                "weights": found.weights,
                "bias": found.bias + priors,
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Counterparts(tensors)


def near_texts(collection: Collection, text: TextClassifier, sums: Tensor, most: int) -> Tensor:
    """The class embeddings and of each class its `most` descriptions nearest to its images, float32 [T, d], unit rows.

    Args:
        sums: float64 [C, d], the sum of the images of each class.
    """
    import torch
    from torch.nn.functional import normalize

    centres, described = normalize(sums.float(), dim=1), collection.descriptions
    kept = [normalize(text.weights, dim=1)]
    for class_id, centre in enumerate(centres):
        mine = described.features[described.class_ids == class_id]
        if len(mine):
            kept.append(mine[(mine @ centre).argsort(descending=True, stable=True)[:most]])
    return torch.cat(kept)


def counterpart(features: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """L2norm(sum_n softmax_n(x . n / temperature) n), float32 [B, d], of features float32 [B, d] and texts float32 [T, d]."""
    from torch.nn.functional import normalize

    from nola_core.algebra.rowwise import product

    shares = (product(features, texts) / temperature).softmax(dim=1)
    return normalize(product(shares, texts.T.contiguous()), dim=1)


def beside(one: Tensor, other: Tensor) -> Tensor:
    """[one; other] of two sets of unit rows, scaled to unit length. float32 [B, 2 d]."""
    import torch

    return torch.cat([one, other], dim=1) / 2**0.5


class Counterparts(Fitted):
    """The text's logits and linear discriminants of [x; t] in its principal components."""

    spaces = ("clip",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.components import Components
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text = posterior.restore(tensors)
        self._components = Components.restore(tensors)
        self._discriminant = Discriminant(tensors["weights"], tensors["bias"])
        self._temperature = float(tensors["temperature"])

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        x = features[posterior.SPACE]
        y = self._components(beside(x, counterpart(x, self._tensors["texts"], self._temperature)))
        return (posterior.logits(self._text, x) + self._discriminant(y)).softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = Tac()
