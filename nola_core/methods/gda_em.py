"""GDA with EM: one Gaussian a class with a shared covariance, added to the text's logits."""

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
    """Section `gda_em` of params.yaml."""

    spaces: list[str] = Field(default=["clip"], min_length=1)
    """Where the Gaussians are."""
    weight: float = Field(default=1.0, gt=0)
    """Of the discriminants beside the text's logits."""
    iterations: Positive = 10
    pull: float = Field(default=0.02, ge=0, le=1)
    """Share of uniform in the class proportions; with 0 a class that no image is given to stays empty."""


PSEUDO_COUNT = 1e-3
"""Images at the mean of all that every class has besides its own, so that a class without images has a mean."""


class GdaEm(FeatureMethod):
    """Gaussian discriminant analysis by EM from the text's answers: `logits = s x phi^T + weight (W x + b + log pi)`.

    The classes have one covariance, which is made invertible by a multiple of the identity. In the paper the classes come
    from a few labelled images. It gains where a space separates the classes (`spaces: [ssl]`) and has ten images or more a
    class; it loses where only a quarter of the names occur.
    """

    name = "gda_em"
    title = "GDA-EM"
    summary = "Gaussian discriminant analysis by EM from the text's answers, added to the text's logits"
    paper = "Wang et al., A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation, ICLR 2024, equations 3 and 4, by EM"
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, gaussian, posterior
        from nola_core.algebra.proportions import pulled

        spaces = blocks.chosen(collection, options.spaces)
        text, logits = posterior.of_all(collection, spaces)
        moments = {name: gaussian.Moments.of(space) for name, space in spaces.items()}
        z, found = logits.softmax(dim=1), {}
        for _ in range(options.iterations):
            counts = z.sum(dim=0, dtype=torch.float64)
            for name, space in spaces.items():
                sums = space.weighted_sum(z)
                centre = moments[name].total / len(space)
                means = gaussian.means(sums, counts, prior=centre, pseudo_count=PSEUDO_COUNT)
                covariance = ridged(moments[name].within(sums, counts, means), len(space))
                found[name] = gaussian.discriminant(covariance, means).scaled(options.weight)
            priors = pulled(counts / counts.sum(), options.pull).clamp_min(torch.finfo(torch.float32).tiny).log().float()
            z = logits + options.weight * priors
            for name, space in spaces.items():
                for rows, block in space:
                    z[rows] += found[name](block)
            z = z.softmax(dim=1)
        return Discriminants(
            {
                **posterior.tensors(text),
                **{f"{name}.weights": one.weights for name, one in found.items()},
                **{f"{name}.bias": one.bias for name, one in found.items()},
                "priors": options.weight * priors,
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Discriminants(tensors)


def ridged(covariance: Tensor, images: int) -> Tensor:
    """((n - 1) S + tr(S) I) / d, the inverse of the paper's precision matrix d ((n - 1) S + tr(S) I)^-1.

    The paper has n = N, a few images a class. With many, its precision would fall to zero like d / N, so n is at most d + 1, from
    where on this is S + (tr(S) / d) I.

    Args:
        covariance: S, float64 [d, d].
        images: N.
    """
    import torch

    dim = len(covariance)
    few = min(images, dim + 1)
    trace = covariance.trace().clamp_min(1e-9)
    return ((few - 1) * covariance + trace * torch.eye(dim, dtype=covariance.dtype)) / dim


class Discriminants(Fitted):
    """softmax of the text's logits, the discriminants of all spaces, and the classes' log-priors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        names = sorted(name.removesuffix(".bias") for name in tensors if name.endswith(".bias"))
        self._discriminants = {name: Discriminant(tensors[f"{name}.weights"], tensors[f"{name}.bias"]) for name in names}
        self._text = posterior.restore(tensors)
        self.spaces = tuple(sorted({posterior.SPACE, *names}))

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        from nola_core.algebra import posterior

        logits = posterior.logits(self._text, features[posterior.SPACE]) + self._tensors["priors"]
        for name, discriminant in self._discriminants.items():
            logits = logits + discriminant(features[name])
        return logits.softmax(dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = GdaEm()
