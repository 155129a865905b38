"""OT fusion: Gaussians in every space and the text, weighed by their agreement with a transport plan over all images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.algebra.gaussian import Diagonal
    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `ot_fusion` of params.yaml."""

    spaces: list[str] = Field(default=["clip", "ssl"], min_length=1)
    confident: Positive = 8
    """Images a class that the first means are made of."""
    iterations: Positive = 10
    epsilon: float = Field(default=0.01, gt=0)
    """Entropy of the transport plan."""
    sinkhorn_iterations: Positive = 15
    uniform: float = Field(default=0.1, ge=0, le=1)
    """Share of uniform in the class proportions of the plan; the rest is the text's mean answer. In the paper it is 1."""


TEMPERATURE = 50.0
"""Log-densities are divided by it."""
FLOOR = 1e-3
"""Smallest variance, as a share of 1 / d."""


class OtFusion(FeatureMethod):
    """The weighted mean of the text's answers and of Gaussians in every space, fitted to a transport plan over all images.

    The plan z is the entropic optimal transport of the images to the classes with given class proportions; expert and plan
    are computed in turn, and an expert counts as much as it agrees with the plan. It gains where all classes occur. The plan
    forces its proportions on the images, so it loses where names do not occur, most with `uniform: 1`, as in the paper.
    """

    name = "ot_fusion"
    title = "OT fusion"
    summary = "Gaussians in every space and the text, fused by optimal transport over all images"
    paper = "Xu et al., OTFusion: Bridging Vision-only and Vision-Language Models via Optimal Transport, arXiv 2506.13723"
    section = Options
    transductive = True

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        from functools import partial

        import torch
        from torch.nn.functional import normalize

        from nola_core.algebra import blocks, gaussian, posterior, sinkhorn
        from nola_core.algebra.proportions import pulled

        spaces = blocks.chosen(collection, options.spaces)
        text, logits = posterior.of_all(collection, spaces)
        given = logits.softmax(dim=1)
        del logits
        models, moments = {}, {}
        for name, space in spaces.items():
            moments[name] = gaussian.Moments.of(space, diagonal=True)
            first = gaussian.confident(space, given, options.confident)
            models[name] = gaussian.Diagonal(first.float(), torch.full((space.dim,), 1 / space.dim))
        count = len(given)
        rows, columns = torch.ones(count), count * pulled(given.mean(dim=0), options.uniform)
        weights = torch.full((len(spaces) + 1,), 1 / (len(spaces) + 1))
        z = given
        for _ in range(options.iterations):
            experts = [spaces[name].map(partial(answers, model), len(columns)) for name, model in models.items()] + [given]
            fused = torch.zeros_like(given)
            for weight, expert in zip(weights.tolist(), experts, strict=True):
                fused.add_(expert, alpha=weight)
            z = sinkhorn.plan(fused, rows, columns, epsilon=options.epsilon, iterations=options.sinkhorn_iterations)
            agreed = z.argmax(dim=1)
            agreement = torch.stack([(expert.argmax(dim=1) == agreed).float().mean() for expert in experts])
            weights = (agreement + 1e-6) / (agreement + 1e-6).sum()
            counts = z.sum(dim=0, dtype=torch.float64)
            for name, space in spaces.items():
                sums = space.weighted_sum(z)
                centre = moments[name].total / count
                means = normalize(gaussian.means(sums, counts, prior=centre, pseudo_count=1e-3), dim=1)
                spread = moments[name].within(sums, counts, means).clamp_min(FLOOR / space.dim)
                models[name] = gaussian.Diagonal(means.float(), spread.float())
        return Fusion(
            {
                **posterior.tensors(text),
                **{f"{name}.means": model.means for name, model in models.items()},
                **{f"{name}.variances": model.variances for name, model in models.items()},
                "weights": weights,
            },
            transduced=z,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Fusion(tensors)


def answers(model: Diagonal, features: Tensor) -> Tensor:
    """What a space's Gaussians answer, float32 [B, C], rows sum to 1."""
    return (model.log_density(features) / TEMPERATURE).softmax(dim=1)


class Fusion(Fitted):
    """The weighted mean of the Gaussians' answers in every space and of the text's."""

    def __init__(self, tensors: Mapping[str, Tensor], *, transduced: Tensor | None = None) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.gaussian import Diagonal
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        names = sorted(name.removesuffix(".means") for name in tensors if name.endswith(".means"))
        self._models = {name: Diagonal(tensors[f"{name}.means"], tensors[f"{name}.variances"]) for name in names}
        self._text = posterior.restore(tensors)
        self.spaces = tuple(sorted({posterior.SPACE, *names}))
        self.transduced = transduced

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        *weights, last = self._tensors["weights"].tolist()
        answer = last * posterior.logits(self._text, features[posterior.SPACE]).softmax(dim=1)
        for weight, (name, model) in zip(weights, self._models.items(), strict=True):
            answer = answer + weight * answers(model, features[name])
        return answer

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = OtFusion()
