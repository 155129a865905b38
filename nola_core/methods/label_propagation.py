"""Label propagation: the text's answers, spread over the neighbours in one space or several."""

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
    """Section `label_propagation` of params.yaml."""

    spaces: list[str] = Field(default=["ssl"], min_length=1)
    """Where images are neighbours; the graph is the mean of theirs."""
    neighbors: Positive = 10
    alpha: float = Field(default=0.9, ge=0, lt=1)
    """How far answers travel along the edges."""
    power: float = Field(default=3.0, gt=0)
    """Of the cosines."""
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


class LabelPropagation(FeatureMethod):
    """`Z = (1 - alpha)(I - alpha W)^-1 Y` with the text's answers Y and the graph W of nearest neighbours.

    It spreads the text's answers along the edges, in one space or the mean graph of several. It is among the best where few
    of the names occur, and loses with weak spaces, with few images a class and in long tails, where many neighbours are of
    other classes.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "label_propagation"
    title = "Label propagation"
    summary = "the text's answers, spread over each image's neighbours"
    paper = (
        "Zhou et al., Learning with Local and Global Consistency, NeurIPS 2003, section 2; the graph of Iscen et al., CVPR 2019"
    )
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, graph, posterior
        from nola_core.algebra.anchors import Anchors, drawn

        spaces = blocks.chosen(collection, options.spaces)
        text, logits = posterior.of_all(collection, spaces)
        given = logits.softmax(dim=1)
        del logits
        graphs = {}
        for name, space in spaces.items():
            near = graph.nearest(space, options.neighbors)
            graphs[name] = graph.Graph.of(near.rows, near.cosines.clamp_min(0) ** options.power, width=len(space)).symmetric(
                "amax"
            )
        mean = graph.mean([one.normalized() for one in graphs.values()])
        found = graph.propagated(mean, (1 - options.alpha) * given, alpha=options.alpha).clamp_min_(0)
        images = drawn(len(given), options.anchors, seed=seed)
        tensors = {
            **posterior.tensors(text),
            "alpha": torch.tensor(options.alpha, dtype=torch.float64),
            "power": torch.tensor(options.power, dtype=torch.float64),
            "neighbors": torch.tensor(options.neighbors),
        }
        for name, space in spaces.items():
            offered = graph.inverse_root(graphs[name].degrees())[:, None] * found
            tensors |= Anchors.of(space, offered, images=images).tensors(f"{name}.anchors")
        return Spread(tensors, transduced=posterior.normalized(found, given))

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Spread(tensors)


class Spread(Fitted):
    """One step of the propagation for a new image: (1 - alpha) y + alpha sum_j w_j f_j / sqrt(d d_j)."""

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.anchors import Anchors
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        names = sorted(name.partition(".")[0] for name in tensors if name.endswith(".anchors.features"))
        self._anchors = {name: Anchors.restore(tensors, f"{name}.anchors") for name in names}
        self._text = posterior.restore(tensors)
        self._neighbors, self._alpha, self._power = (float(tensors[name]) for name in ("neighbors", "alpha", "power"))
        self.spaces = tuple(sorted({posterior.SPACE, *names}))
        self.transduced = transduced

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import graph, posterior

        given = posterior.logits(self._text, features[posterior.SPACE]).softmax(dim=1)
        answer = (1 - self._alpha) * given
        for name, anchors in self._anchors.items():
            cosines, rows = anchors.nearest(features[name], int(self._neighbors))
            weights = cosines.clamp_min(0) ** self._power
            weights = weights * graph.inverse_root(weights.sum(dim=1))[:, None]
            answer = answer + self._alpha / len(self._anchors) * anchors.mean(rows, weights)
        return posterior.normalized(answer, given)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = LabelPropagation()
