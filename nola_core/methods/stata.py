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
    """As `transclip`, with a variance a class, and with the text in each class's Gaussian as if it were `anchoring` images.

    With n_c images of mean m_c and variance v_c in a class, and `b = n_c / (n_c + anchoring)`, its Gaussian has the mean
    `mu_c = L2norm(b m_c + (1 - b) t_c)` and the variance `b v_c + (1 - b) (1 / d + (t_c - mu_c)^2)`. So a name without images
    stays at its text t_c. It reads CLIP's features, and is made for long lists of names of which few occur. It loses with
    three images a class.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "stata"
    title = "StatA"
    summary = "as TransCLIP, with the Gaussians of the classes anchored to the text; for few classes among many names"
    paper = "Zanella et al., Realistic Test-Time Adaptation of Vision-Language Models, CVPR 2025 (arXiv 2501.03729)"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        from torch.nn.functional import normalize

        from nola_core.algebra import posterior, transduction

        def anchored(space: Blocks, text: TextClassifier) -> Anchored:
            return Anchored(space, normalize(text.weights.double(), dim=1), options.anchoring)

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
    """A Gaussian a class with a diagonal covariance of its own; the text's embedding, float64 [C, d], counts as some images."""

    def __init__(self, space: Blocks, prototypes: Tensor, anchoring: float) -> None:
        self._space, self._prototypes, self._anchoring = space, prototypes, anchoring

    def first(self, z: Tensor) -> Diagonal:
        import torch

        from nola_core.algebra.gaussian import Diagonal

        prototypes = self._prototypes.float()
        return Diagonal(prototypes, torch.full_like(prototypes, 1 / self._space.dim))

    def of(self, z: Tensor) -> Diagonal:
        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import transduction
        from nola_core.algebra.gaussian import Diagonal

        counts, sums = z.sum(dim=0, dtype=torch.float64)[:, None], self._space.weighted_sum(z)
        squares = self._space.weighted_sum(z, torch.square)
        total = counts + self._anchoring
        means = normalize((sums + self._anchoring * self._prototypes) / total, dim=1)
        spread = squares - 2 * means * sums + counts * means.square()
        anchored = self._anchoring * (1 / self._space.dim + (self._prototypes - means).square())
        variances = ((spread.clamp_min(0) + anchored) / total).clamp_min(transduction.FLOOR / self._space.dim)
        return Diagonal(means.float(), variances.float())


METHOD = StatA()
