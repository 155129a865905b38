"""Anchored LDA-EM: Gaussians of the classes in one space, held by the text's calibrated answers and each image's neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Fraction, Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `lda_em` of params.yaml."""

    space: str = "ssl"
    """Where the Gaussians and the graph are."""
    components: Positive = 128
    """Principal components of it."""
    neighbors: Positive = 10
    iterations: Positive = 30
    shrinkage: Fraction = 0.1
    """Share of a multiple of the identity in the covariance."""
    graph_first: float = Field(default=20.0, ge=0)
    """Weight of the neighbours in the first iteration."""
    graph_last: float = Field(default=5.0, ge=0)
    """And in the last, and for new images; it falls linearly. Both 5: better where all classes occur equally often."""
    pull: float = Field(default=0.02, ge=0, le=1)
    """Share of uniform in the class proportions."""
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


SMOOTHING_STEPS, SMOOTHING, SHARPNESS = 5, 0.8, 0.1
"""Steps and share of the neighbours before the first M-step; temperature of the cosines in the graph's weights."""


class LdaEm(FeatureMethod):
    """Gaussians of the classes with a shared covariance, by EM: `Z = softmax(L / T + v + D + g W Z)`.

    L are the text's logits; their temperature T makes the mean confidence the share of images that their neighbours' vote
    confirms. v holds the class proportions, D are linear discriminants in the principal components of one space, W averages
    over neighbours. It gains where the space separates the classes. It trusts the space fully, so it loses where that is
    weak.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "lda_em"
    title = "Anchored LDA-EM"
    summary = "Gaussians of the classes by EM, anchored to the text's calibrated posterior and smoothed over neighbours"
    paper = "NoLA's own; a relative of Wang et al., A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation, ICLR 2024"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, gaussian, graph, posterior
        from nola_core.algebra.anchors import Anchors, drawn
        from nola_core.algebra.components import Components
        from nola_core.algebra.proportions import Biases, pulled

        original = blocks.chosen(collection, [options.space])[options.space]
        components = Components.of(original, options.components)
        space = blocks.of(original.map(components, len(components.basis)), name=original.name)
        del original
        text, logits = posterior.of_all(collection)
        near = graph.nearest(space, options.neighbors)
        edges = graph.Graph.of(near.rows, (near.cosines / SHARPNESS).softmax(dim=1), width=len(space))
        temperature = calibrated(logits, near.rows)
        logits /= temperature
        z = given = logits.softmax(dim=1)
        for _ in range(SMOOTHING_STEPS if len(space) > 1 else 0):
            z = SMOOTHING * (edges @ z) + (1 - SMOOTHING) * given
        moments, anchor, pi = gaussian.Moments.of(space), Biases(logits), z.mean(dim=0)
        biases = torch.zeros(logits.shape[1])
        for weight in torch.linspace(options.graph_first, options.graph_last, options.iterations).tolist():
            counts, sums = z.sum(dim=0, dtype=torch.float64), space.weighted_sum(z)
            means = gaussian.means(sums, counts, prior=moments.total / moments.count, pseudo_count=1)
            covariance = gaussian.shrunk(moments.within(sums, counts, means), options.shrinkage)
            discriminant = gaussian.discriminant(covariance, means)
            biases = anchor.find(pi, biases)
            around = edges @ z
            z = space.map(discriminant, len(pi)).add_(logits).add_(biases).add_(around, alpha=weight).softmax(dim=1)
            pi = pulled(z.mean(dim=0), options.pull)
        kept = Anchors.of(space, z.half(), images=drawn(len(space), options.anchors, seed=seed))
        return AnchoredDiscriminants(
            {
                **posterior.tensors(text),
                **{f"{options.space}.{name}": tensor for name, tensor in components.tensors().items()},
                **kept.tensors("anchors"),
                "weights": discriminant.weights,
                "bias": discriminant.bias + biases,
                "temperature": torch.tensor(temperature, dtype=torch.float64),
                "graph": torch.tensor([options.neighbors, options.graph_last], dtype=torch.float64),
            },
            transduced=z,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return AnchoredDiscriminants(tensors)


def calibrated(logits: Tensor, neighbors: Tensor) -> float:
    """The temperature at which the mean confidence is the share of images that the vote of their neighbours confirms.

    Args:
        logits: float32 [N, C].
        neighbors: int64 [N, k], of every image, nearest first; among equally many votes the nearer ones decide.
    """
    import torch
    from torch.nn.functional import one_hot

    from nola_core.algebra import temperature
    from nola_core.algebra.graph import Graph

    count, k = neighbors.shape
    if not k:
        return 1.0
    answers = logits.argmax(dim=1)
    ballots = 1 + torch.arange(k, 0, -1) / (1000 * k)
    votes = Graph.of(neighbors, ballots.expand(count, k), width=count) @ one_hot(answers, logits.shape[1]).float()
    return temperature.for_confidence(logits, float((votes.argmax(dim=1) == answers).float().mean()))


class AnchoredDiscriminants(Fitted):
    """softmax(L / T + v + D + g W Z) of new images, with W over their neighbours among the fitted ones."""

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.anchors import Anchors
        from nola_core.algebra.components import Components
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._space = next(name for name in tensors if name.endswith(".basis")).removesuffix(".basis")
        self.spaces = tuple(sorted({posterior.SPACE, self._space}))
        self.transduced = transduced
        self._text, self._anchors = posterior.restore(tensors), Anchors.restore(tensors, "anchors")
        self._components = Components.restore({name: tensors[f"{self._space}.{name}"] for name in ("mean", "basis")})
        self._discriminant = Discriminant(tensors["weights"], tensors["bias"])
        self._temperature = float(tensors["temperature"])
        self._neighbors, self._weight = int(tensors["graph"][0]), float(tensors["graph"][1])

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        a = self._components(features[self._space])
        cosines, rows = self._anchors.nearest(a, self._neighbors)
        around = self._anchors.mean(rows, (cosines / SHARPNESS).softmax(dim=1))
        logits = posterior.logits(self._text, features[posterior.SPACE]) / self._temperature
        return (logits + self._discriminant(a) + self._weight * around).softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = LdaEm()
