"""TransCLIP's objective: every image's assignment is held by the text, by the Gaussians of the classes, and by its neighbours.

Zanella, Gerin and Ben Ayed, Boosting Vision-Language Models with Transduction, NeurIPS 2024: its block
majorize-minimize updates of z, mu and Sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from nola_core.algebra import blocks, graph, posterior
from nola_core.algebra.anchors import Anchors, drawn
from nola_core.algebra.blocks import Blocks
from nola_core.algebra.gaussian import Diagonal
from nola_core.algebra.graph import Graph, Neighbors
from nola_core.algebra.rowwise import packed
from nola_core.methods.collection import Collection
from nola_core.methods.method import Fitted
from nola_core.text_classifier import TextClassifier

TEMPERATURE = 50.0
"""Log-densities are divided by it."""
GRAPH = 1 / 6
"""Weight of (W + W^T) z: the paper's 50 / 6 over `TEMPERATURE`, the mean over twice three neighbours."""
INNER, OUTER = 5, 10
"""Steps of the assignments between two of the Gaussians, and how many of those."""
FLOOR = 1e-3
"""Smallest variance, as a share of 1 / d."""


def affinities(near: Neighbors) -> Graph:
    """W + W^T, with W the cosines of nearest neighbours where they are positive."""
    return Graph.of(near.rows, near.cosines.clamp_min(0), width=len(near.rows)).symmetric("sum")


def assigned(scores: Tensor, edges: Graph, z: Tensor) -> Tensor:
    """`INNER` steps z <- softmax(scores + (W + W^T) z / 6), float32 [N, C]."""
    for _ in range(INNER):
        z = (edges @ z).mul_(GRAPH).add_(scores).softmax(dim=1)
    return z


def scores(space: Blocks, model: Diagonal, logits: Tensor) -> Tensor:
    """Lambda log Y + log N(x) / 50, up to a constant a row, float32 [N, C]; `logits`: the text's, times lambda."""
    out = logits.clone()
    for rows, block in space:
        out[rows] += model.log_density(block) / TEMPERATURE
    return out


class Gaussians(Protocol):
    """What a method says about the Gaussians of the classes."""

    def first(self, z: Tensor) -> Diagonal:
        """Before anything is assigned, from the text's posterior, float32 [N, C]."""

    def of(self, z: Tensor) -> Diagonal:
        """From assignments, float32 [N, C], rows sum to 1."""


def fitted(
    collection: Collection,
    gaussians: Callable[[Blocks, TextClassifier], Gaussians],
    *,
    space: str,
    neighbors: int,
    text_weight: float,
    anchors: int,
    seed: int,
) -> Mixture:
    """`OUTER` rounds of assignments and Gaussians, from the text's posterior.

    Args:
        space: where the Gaussians and the graph are.
        neighbors: edges of each image.
        text_weight: lambda, how strongly the text holds each image.
        anchors: fitted images kept, at most, as neighbours of new ones.
    """
    spaces = blocks.chosen(collection, [space])
    text, logits = posterior.of_all(collection, spaces)
    images = spaces[space]
    edges = affinities(graph.nearest(images, neighbors))
    z = logits.softmax(dim=1)
    logits *= text_weight
    about = gaussians(images, text)
    model = about.first(z)
    for _ in range(OUTER):
        z = assigned(scores(images, model, logits), edges, z)
        model = about.of(z)
    return Mixture.of(images, model, text, z, neighbors=neighbors, text_weight=text_weight, anchors=anchors, seed=seed)


class Mixture(Fitted):
    """The assignment of a new image: one step, with its neighbours among the fitted images.

    A fitted image has edges to its neighbours and from those it is a neighbour of; a new one counts its own twice instead.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        self._tensors = tensors = packed(tensors)
        self._space = next(name for name in tensors if name.endswith(".means")).removesuffix(".means")
        self._model = Diagonal(tensors[f"{self._space}.means"], tensors[f"{self._space}.variances"])
        self._text, self._anchors = posterior.restore(tensors), Anchors.restore(tensors, "anchors")
        self._neighbors, self._weight = int(tensors["neighbors"]), float(tensors["text_weight"])
        self.spaces = tuple(sorted({posterior.SPACE, self._space}))
        self.transduced = transduced

    @classmethod
    def of(
        cls,
        space: Blocks,
        model: Diagonal,
        text: TextClassifier,
        z: Tensor,
        *,
        neighbors: int,
        text_weight: float,
        anchors: int,
        seed: int,
    ) -> Mixture:
        """From the assignments `z` that were found, float32 [N, C]."""
        kept = Anchors.of(space, z.half(), images=drawn(len(space), anchors, seed=seed))
        tensors = {
            **posterior.tensors(text),
            f"{space.name}.means": model.means,
            f"{space.name}.variances": model.variances,
            **kept.tensors("anchors"),
            "neighbors": torch.tensor(neighbors),
            "text_weight": torch.tensor(text_weight, dtype=torch.float64),
        }
        return cls(tensors, transduced=z)

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        x = features[self._space]
        cosines, rows = self._anchors.nearest(x, self._neighbors)
        around = self._anchors.mean(rows, cosines.clamp_min(0))
        logits = self._weight * posterior.logits(self._text, features[posterior.SPACE])
        return (logits + self._model.log_density(x) / TEMPERATURE + 2 * GRAPH * around).softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)
