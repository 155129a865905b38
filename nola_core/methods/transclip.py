"""TransCLIP: zero-shot answers of all images together, with one Gaussian a class and a graph of neighbours."""

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
    """

    name = "transclip"
    title = "TransCLIP"
    summary = "text, Gaussians with a shared covariance and neighbours, over all images together"
    paper = "Zanella et al., Boosting Vision-Language Models with Transduction, NeurIPS 2024 (arXiv 2406.01837), TransCLIP-ZS"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import blocks, gaussian, graph, posterior, transduction

        text, logits = posterior.of_all(collection)
        space = blocks.chosen(collection, [options.space])[options.space]
        near = graph.nearest(space, options.neighbors)
        if near.recall < 1:
            print(f"{self.name}: {near}")
        edges = transduction.affinities(near)
        z = logits.softmax(dim=1)
        logits *= options.text_weight
        moments = gaussian.Moments.of(space, diagonal=True)
        variance = torch.full((space.dim,), 1 / space.dim)
        model = gaussian.Diagonal(gaussian.confident(space, z, options.confident).float(), variance)
        for _ in range(transduction.OUTER):
            z = transduction.assigned(transduction.scores(space, model, logits), edges, z)
            counts, sums = z.sum(dim=0, dtype=torch.float64), space.weighted_sum(z)
            centre = moments.total / len(space)
            means = normalize(gaussian.means(sums, counts, prior=centre, pseudo_count=1e-3), dim=1)
            spread = moments.within(sums, counts, means).clamp_min(transduction.FLOOR / space.dim)
            model = gaussian.Diagonal(means.float(), spread.float())
        return transduction.Mixture.of(
            space,
            model,
            text,
            z,
            neighbors=options.neighbors,
            text_weight=options.text_weight,
            anchors=options.anchors,
            seed=seed,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core.algebra.transduction import Mixture

        return Mixture(tensors)


METHOD = TransClip()
