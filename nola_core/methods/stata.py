"""StatA: TransCLIP with Gaussians that the text anchors, for collections in which many classes do not occur."""

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
    """Section `stata` of params.yaml."""

    text_weight: float = Field(default=1.0, ge=0)
    """Lambda of the paper: how strongly the text holds each image."""
    anchoring: float = Field(default=1.0, gt=0)
    """Images that the text's embedding counts as, in the Gaussian of its class."""
    neighbors: Positive = 3
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


class StatA(FeatureMethod):
    """As `transclip`, with a variance a class, and with the text in each class's Gaussian as if it were `anchoring` images.

    With n_c images of mean m_c and variance v_c in a class, and `b = n_c / (n_c + anchoring)`, its Gaussian has the mean
    `mu_c = L2norm(b m_c + (1 - b) t_c)` and the variance `b v_c + (1 - b) (1 / d + (t_c - mu_c)^2)`. So a name without images
    stays at its text t_c. It reads CLIP's features, and is made for long lists of names of which few occur. It loses with
    three images a class.
    """

    name = "stata"
    title = "StatA"
    summary = "as TransCLIP, with the Gaussians of the classes anchored to the text; for few classes among many names"
    paper = "Zanella et al., Realistic Test-Time Adaptation of Vision-Language Models, CVPR 2025 (arXiv 2501.03729)"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import blocks, gaussian, graph, posterior, transduction

        text, logits = posterior.of_all(collection)
        space = blocks.chosen(collection, [posterior.SPACE])[posterior.SPACE]
        near = graph.nearest(space, options.neighbors)
        if near.recall < 1:
            print(f"{self.name}: {near}")
        edges = transduction.affinities(near)
        z = logits.softmax(dim=1)
        logits *= options.text_weight
        prototypes, first = normalize(text.weights.double(), dim=1), 1 / space.dim
        model = gaussian.Diagonal(prototypes.float(), torch.full_like(text.weights, first))
        for _ in range(transduction.OUTER):
            z = transduction.assigned(transduction.scores(space, model, logits), edges, z)
            counts, sums = z.sum(dim=0, dtype=torch.float64)[:, None], space.weighted_sum(z)
            squares = space.weighted_sum(z, torch.square)
            total = counts + options.anchoring
            means = normalize((sums + options.anchoring * prototypes) / total, dim=1)
            spread = squares - 2 * means * sums + counts * means.square()
            anchored = options.anchoring * (first + (prototypes - means).square())
            variances = ((spread.clamp_min(0) + anchored) / total).clamp_min(transduction.FLOOR / space.dim)
            model = gaussian.Diagonal(means.float(), variances.float())
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


METHOD = StatA()
