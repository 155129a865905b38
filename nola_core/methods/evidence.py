"""Evidence-weighted discriminants: the text's posterior, and discriminants of further spaces as far as they have earned it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Fraction, Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `evidence` of params.yaml."""

    spaces: list[str] = Field(default=["ssl"], min_length=1)
    """The spaces beside the text."""
    weight: float | None = Field(default=None, ge=0, le=1)
    """Of every space; null: measured. 0 is the text alone."""
    calibration: Literal["cooled", "both", "none"] = "cooled"
    """How T is chosen: cooled: at least 1, which is CLIP's own temperature; both: also below 1; none: always 1."""
    graph: float = Field(default=2.0, ge=0)
    """Weight of the neighbours in the last iteration, and for new images, if all names occur; five times that in the first."""
    components: Positive = 128
    """Principal components of each space."""
    neighbors: Positive = 10
    iterations: Positive = 20
    shrinkage: Fraction = 0.1
    """Least share of a multiple of the identity in the covariances; more with few images."""
    pull: float = Field(default=0.02, gt=0, le=1)
    """Share of uniform in the class proportions."""
    anchors: Positive = 20_000
    """Fitted images kept, at most, as neighbours of new ones."""


FIRST = 5.0
"""Weight of the neighbours in the first iteration, as a multiple of that in the last."""
SMOOTHING_STEPS, SMOOTHING, SHARPNESS = 5, 0.8, 0.1
"""As in `lda_em`: steps and share of the neighbours before the first M-step; temperature of the cosines in the graph."""


class EvidenceWeighted(FeatureMethod):
    """`softmax(L / T + w (v + D + g W Z))`: with w = 0 the text's own answers, with w = 1 about those of `lda_em`.

    w is measured in each space before anything is fitted: linear discriminants learn the text's posterior on four fifths of
    the images and are asked about the other fifth (`algebra.agreement`). T is raised, as far as w goes, to where the text is
    as confident as the discriminants agree with it; g is larger where fewer of the names seem to occur. A space that cannot
    predict the text's answers gets little weight, which keeps the method near or above the text. It can lose where the
    text knows more than the second space, and it cannot notice names that are wrong in a consistent way.

    Beyond 20,000 images the neighbours are searched approximately (`algebra.graph`), and new images find theirs among `anchors`.
    """

    name = "evidence"
    title = "Evidence-weighted discriminant"
    summary = "the text's posterior, and discriminants on a second space by EM, weighed by held-out evidence"
    paper = "NoLA's own; see lda_em for its relatives"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import agreement, blocks, gaussian, graph, posterior, proportions, temperature
        from nola_core.algebra.anchors import Anchors, drawn
        from nola_core.algebra.components import Components
        from nola_core.algebra.reduction import SAMPLE

        text, logits = posterior.of_all(collection)
        count, classes = logits.shape
        share = occurring(proportions.estimated(logits.softmax(dim=1), pull=options.pull))
        some = drawn(count, SAMPLE, seed=0)
        maps, spaces, evidence = {}, {}, {}
        for name, original in blocks.chosen(collection, options.spaces).items():
            maps[name] = Components.of(original, options.components)
            spaces[name] = blocks.of(original.map(maps[name], len(maps[name].basis)), name=original.name)
            evidence[name] = agreement.measured(
                spaces[name].rows(some.numpy()), logits[some], options.shrinkage, share=share, images=count
            )
        given = {name: one.weight if options.weight is None else options.weight for name, one in evidence.items()}
        weights = {name: weight / max(1.0, sum(given.values())) for name, weight in given.items() if weight > 0}
        total = sum(weights.values())
        heat = 1.0
        if weights and options.calibration != "none":
            agreed = sum(weights[name] * evidence[name].agreement for name in weights) / total
            heat = temperature.for_confidence(logits[some], agreed)
            heat = (heat if options.calibration == "both" else max(1.0, heat)) ** total
        logits /= heat
        z = logits.softmax(dim=1)
        edges = {}
        for name in weights:
            near = graph.nearest(spaces[name], options.neighbors)
            edges[name] = graph.Graph.of(near.rows, (near.cosines / SHARPNESS).softmax(dim=1), width=count)
        for _ in range(SMOOTHING_STEPS if count > 1 else 0):
            around = sum((SMOOTHING * weight * (edges[name] @ z) for name, weight in weights.items()), torch.zeros(()))
            z = around + (1 - SMOOTHING * total) * logits.softmax(dim=1)
        moments = {name: gaussian.Moments.of(spaces[name]) for name in weights}
        found: dict[str, gaussian.Discriminant] = {}
        biases, strength = torch.zeros(classes), options.graph / share
        anchor, pi = proportions.Biases(logits), z.mean(dim=0)
        for g in torch.linspace(FIRST * strength, strength, options.iterations).tolist() if weights else []:
            biases = anchor.find(pi, biases)
            scores = logits + total * biases
            for name, weight in weights.items():
                found[name] = agreement.discriminant(spaces[name], moments[name], z, options.shrinkage).scaled(weight)
                scores += spaces[name].map(found[name], classes)
                scores.add_(edges[name] @ z, alpha=weight * g)
            z = scores.softmax(dim=1)
            pi = proportions.pulled(z.mean(dim=0), options.pull)
        tensors = {
            **posterior.tensors(text),
            "biases": total * biases,
            "temperature": torch.tensor(heat, dtype=torch.float64),
            "neighbors": torch.tensor(options.neighbors),
        }
        kept = drawn(count, options.anchors, seed=seed)
        for name, weight in weights.items():
            own = {
                **maps[name].tensors(),
                **Anchors.of(spaces[name], z.half(), images=kept).tensors("anchors"),
                "weights": found[name].weights,
                "bias": found[name].bias,
                "weight": torch.tensor(weight, dtype=torch.float64),
                "graph": torch.tensor(weight * strength, dtype=torch.float64),
            }
            tensors |= {f"{name}.{key}": tensor for key, tensor in own.items()}
        return Weighted(tensors, transduced=z)

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Weighted(tensors)


def occurring(pi: Tensor) -> float:
    """The share of the classes that seem to occur, in [1 / C, 1]: exp of the entropy of the class proportions, over C."""
    return float((-(pi * pi.log()).sum()).exp()) / len(pi)


class Weighted(Fitted):
    """softmax(L / T + v + sum_s w_s (D_s + g W_s Z)) of new images, with W_s over their neighbours among the fitted ones.

    Attributes:
        weights: space -> w_s; a space without weight is left out, and its features are not read.
        temperature: T.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.anchors import Anchors
        from nola_core.algebra.components import Components
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text, self.temperature = posterior.restore(tensors), float(tensors["temperature"])
        self.weights = {
            name.removesuffix(".weight"): float(one) for name, one in sorted(tensors.items()) if name.endswith(".weight")
        }
        self._experts = {
            name: (
                Components(tensors[f"{name}.mean"], tensors[f"{name}.basis"]),
                Discriminant(tensors[f"{name}.weights"], tensors[f"{name}.bias"]),
                Anchors.restore(tensors, f"{name}.anchors"),
                float(tensors[f"{name}.graph"]),
            )
            for name in self.weights
        }
        self.spaces = tuple(sorted({posterior.SPACE, *self.weights}))
        self.transduced = transduced

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        logits = posterior.logits(self._text, features[posterior.SPACE]) / self.temperature + self._tensors["biases"]
        for name, (components, discriminant, anchors, graph) in self._experts.items():
            a = components(features[name])
            cosines, rows = anchors.nearest(a, int(self._tensors["neighbors"]))
            around = anchors.mean(rows, (cosines / SHARPNESS).softmax(dim=1))
            logits = logits + discriminant(a) + graph * around
        return logits.softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = EvidenceWeighted()
