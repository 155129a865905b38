"""TransCLIP: zero-shot answers of all images together, with one Gaussian a class and a graph of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.algebra.blocks import Blocks
    from nola_core.algebra.gaussian import Diagonal
    from nola_core.methods.collection import Collection
    from nola_core.text_classifier import TextClassifier


class Options(Section):
    """Section `transclip` of params.yaml."""

    space: str = "clip"
    """Where the Gaussians and the graph are."""
    text_weight: float = Field(default=1.0, ge=0)
    """Lambda of the paper: how strongly the text holds each image."""
    neighbors: Positive = 3
    confident: Positive = 8
    """Images a class that the first means are made of."""
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


class TransClip(FeatureMethod):
    """All images are classified together: each is held by the text, by its class's Gaussian and by its neighbours.

    `z_i` is proportional to `y_i^text_weight exp((log N(x_i; mu, var) + (50 / 6) ((W + W^T) z)_i) / 50)`, with one diagonal
    variance for all classes; z, mu and var are updated in turn. It reads one space, and gains most where that separates the
    classes well (`space: ssl`). It assumes no class proportions, so names that do not occur do little harm.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "transclip"
    title = "TransCLIP"
    summary = "text, Gaussians with a shared covariance and neighbours, over all images together"
    paper = "Zanella et al., Boosting Vision-Language Models with Transduction, NeurIPS 2024 (arXiv 2406.01837), TransCLIP-ZS"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        from nola_core.algebra import transduction

        def shared(space: Blocks, text: TextClassifier) -> Shared:
            return Shared(space, options.confident)

        return transduction.fitted(
            collection,
            shared,
            space=options.space,
            neighbors=options.neighbors,
            text_weight=options.text_weight,
            anchors=options.anchors,
            seed=seed,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core.algebra.transduction import Mixture

        return Mixture(tensors)


class Shared:
    """Gaussians that share a diagonal covariance; the first means are those of each class's most confident images."""

    def __init__(self, space: Blocks, confident: int) -> None:
        from nola_core.algebra import gaussian

        self._space, self._confident = space, confident
        self._moments = gaussian.Moments.of(space, diagonal=True)

    def first(self, z: Tensor) -> Diagonal:
        import torch

        from nola_core.algebra import gaussian

        dim = self._space.dim
        return gaussian.Diagonal(gaussian.confident(self._space, z, self._confident).float(), torch.full((dim,), 1 / dim))

    def of(self, z: Tensor) -> Diagonal:
        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import gaussian, transduction

        counts, sums = z.sum(dim=0, dtype=torch.float64), self._space.weighted_sum(z)
        centre = self._moments.total / len(self._space)
        means = normalize(gaussian.means(sums, counts, prior=centre, pseudo_count=1e-3), dim=1)
        spread = self._moments.within(sums, counts, means).clamp_min(transduction.FLOOR / self._space.dim)
        return gaussian.Diagonal(means.float(), spread.float())


METHOD = TransClip()
