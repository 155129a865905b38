"""StatA: TransCLIP with Gaussians that the text anchors, for collections in which many classes do not occur."""

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
    """Section `stata` of params.yaml."""

    text_weight: float = Field(default=1.0, ge=0)
    """Lambda of the paper: how strongly the text holds each image."""
    anchoring: float = Field(default=1.0, gt=0)
    """Images that the text's embedding counts as, in the Gaussian of its class."""
    neighbors: Positive = 3
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


class StatA(FeatureMethod):
    """Transduction with a diagonal covariance a class, and a statistical anchor at the text.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "stata"
    title = "StatA"
    summary = "as TransCLIP, with the Gaussians of the classes anchored to the text; for few classes among many names"
    paper = "Zanella et al., Realistic Test-Time Adaptation of Vision-Language Models, CVPR 2025 (arXiv 2501.03729)"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        from nola_core.algebra import posterior, transduction

        def anchored(space: Blocks, text: TextClassifier) -> Anchored:
            return Anchored(space, text.weights, options.anchoring)

        return transduction.fitted(
            collection,
            anchored,
            space=posterior.SPACE,
            neighbors=options.neighbors,
            text_weight=options.text_weight,
            anchors=options.anchors,
            seed=seed,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core.algebra.transduction import Mixture

        return Mixture(tensors)


class Anchored:
    """A Gaussian a class with a diagonal covariance of its own, to which the text's embedding counts as some images."""

    def __init__(self, space: Blocks, prototypes: Tensor, anchoring: float) -> None:
        self._space, self._prototypes, self._anchoring = space, prototypes, anchoring

    def first(self, z: Tensor) -> Diagonal:
        import torch

        from nola_core.algebra.gaussian import Diagonal

        return Diagonal(self._prototypes, torch.full_like(self._prototypes, 1 / self._space.dim))

    def of(self, z: Tensor) -> Diagonal:
        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import transduction
        from nola_core.algebra.gaussian import Diagonal

        prototypes = self._prototypes.double()
        counts, sums = z.sum(dim=0, dtype=torch.float64)[:, None], self._space.weighted_sum(z)
        squares = self._space.weighted_sum(z, torch.square)
        total = counts + self._anchoring
        means = normalize((sums + self._anchoring * prototypes) / total, dim=1)
        spread = squares - 2 * means * sums + counts * means.square()
        anchored = self._anchoring * (1 / self._space.dim + (prototypes - means).square())
        variances = ((spread.clamp_min(0) + anchored) / total).clamp_min(transduction.FLOOR / self._space.dim)
        return Diagonal(means.float(), variances.float())


METHOD = StatA()
