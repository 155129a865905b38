"""ZLaP: label propagation from the class texts over a graph of texts and images."""

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
    """Section `zlap` of params.yaml."""

    neighbors: Positive = 5
    """Images that each image has edges to."""
    texts: Positive = 5
    """Class texts that each image has edges to."""
    alpha: float = Field(default=0.3, ge=0, lt=1)
    """How far answers travel along the edges."""
    power: float = Field(default=5.0, gt=0)
    """Of the cosines between images and texts."""
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


class ZLaP(FeatureMethod):
    """The class texts are spread over a graph in CLIP's space: `f_c = (I - alpha W)^-1 e_c`.

    The nodes are the texts and the images, e_c is 1 at the text of class c and 0 elsewhere. An image has edges to its nearest
    images (weight: cosine) and to its nearest texts (cosine^power). It gains where images of a class are near to each other,
    also where names do not occur, and loses with three images a class and in long tails, where many neighbours are of other
    classes.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "zlap"
    title = "ZLaP"
    summary = "label propagation from the class texts over a graph of texts and images"
    paper = (
        "Stojnić et al., Label Propagation for Zero-Shot Classification with Vision-Language Models, CVPR 2024 (arXiv 2404.04072)"
    )
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, graph, posterior
        from nola_core.algebra.anchors import Anchors, drawn

        spaces = blocks.chosen(collection, [posterior.SPACE])
        text, logits = posterior.of_all(collection, spaces)
        space = spaces[posterior.SPACE]
        near = graph.nearest(space, options.neighbors)
        count, classes = logits.shape
        towards, strength = to_texts(logits / text.logit_scale, options.texts, options.power)
        image = classes + torch.arange(count)  # the nodes of the graph: texts, then images
        rows = torch.cat([image.repeat_interleave(near.rows.shape[1]), image.repeat_interleave(towards.shape[1])])
        columns = torch.cat([classes + near.rows.reshape(-1), towards.reshape(-1)])
        weights = torch.cat([near.cosines.clamp_min(0).reshape(-1), strength.reshape(-1)])
        nodes = classes + count
        edges = graph.Graph.of_pairs(rows, columns, weights, shape=(nodes, nodes), repeated="amax").symmetric("amax")
        found = graph.propagated(edges.normalized(), torch.eye(nodes, classes), alpha=options.alpha, tolerance=1e-7)
        found = found.clamp_min_(0)  # of rounding: the exact solution has no negative value
        z = posterior.normalized(found[classes:], logits.softmax(dim=1))
        offered = graph.inverse_root(edges.degrees())[:, None] * found
        kept = Anchors.of(space, offered[classes:], images=drawn(count, options.anchors, seed=seed))
        return Propagated(
            {
                **posterior.tensors(text),
                **kept.tensors("anchors"),
                "texts": offered[:classes].clone(),
                "edges": torch.tensor([options.neighbors, options.texts, options.power], dtype=torch.float64),
            },
            transduced=z,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Propagated(tensors)


def to_texts(cosines: Tensor, k: int, power: float) -> tuple[Tensor, Tensor]:
    """The k nearest texts of every image, int64 [B, k], and the weights of the edges to them, float32 [B, k]."""
    best, texts = cosines.topk(min(k, cosines.shape[1]), dim=1)
    return texts, best.clamp_min(0) ** power


class Propagated(Fitted):
    """What a new image is offered along its edges to the fitted images and to the texts."""

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.anchors import Anchors
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text, self._anchors = posterior.restore(tensors), Anchors.restore(tensors, "anchors")
        self._neighbors, self._texts, self._power = int(tensors["edges"][0]), int(tensors["edges"][1]), float(tensors["edges"][2])
        self.spaces = (posterior.SPACE,)
        self.transduced = transduced

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior, rowwise

        logits = posterior.logits(self._text, features[posterior.SPACE])
        cosines, rows = self._anchors.nearest(features[posterior.SPACE], self._neighbors)
        offered = self._anchors.mean(rows, cosines.clamp_min(0))
        texts, strength = to_texts(logits / self._text.logit_scale, self._texts, self._power)
        offered = offered + rowwise.weighted_sum(self._tensors["texts"][texts], strength)
        return posterior.normalized(offered, logits.softmax(dim=1))

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = ZLaP()
