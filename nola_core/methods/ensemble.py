"""An average of several methods, weighed by how often each agrees with the average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from nola_core.errors import NolaError
from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection

TEXT = "text"
"""The member that is the text classifier of params.yaml."""


class Options(Section):
    """Section `ensemble` of params.yaml."""

    members: list[str] = Field(default=[TEXT, "alignment", "caps_adapter"], min_length=1)
    """`text`, the text classifier of params.yaml, and feature methods that come with NoLA; they are fitted inside."""
    options: dict[str, dict[str, Any]] = Field(default={})
    """Member -> its options, where they differ from its defaults; a member's own section of params.yaml does not count here."""
    rounds: Positive = 10
    """Of weighing."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        if len(set(self.members)) < len(self.members) or Ensemble.name in self.members:
            raise ValueError("ensemble.members must name each method once, and not ensemble itself")
        if strange := sorted(set(self.options) - set(self.members) | set(self.options) & {TEXT}):
            raise ValueError(f"ensemble.options.{strange[0]} belongs to no member that has options")
        return self


SAMPLE = 20_000
"""Images that the weights are found from, at most."""


class Ensemble(FeatureMethod):
    """`p = sum_m w_m p_m`, with w_m proportional to the share of the images that m and the average classify alike.

    The average starts with equal weights; it and the weights are computed in turn until they stay the same. It is steadier
    than its members, and cannot correct errors that they share.
    """

    name = "ensemble"
    title = "Ensemble"
    summary = "average of text classifier, alignment head and CapS-Adapter, weighed by agreement"
    paper = "The weights are those of OTFusion, CVPR 2026, section 3, on the members' average instead of a transport plan"
    section = Options

    def uses(self, options: Options) -> list[str]:
        return [name for name in options.members if name != TEXT]

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import posterior
        from nola_core.algebra.anchors import drawn
        from nola_core.methods.collection import probabilities
        from nola_core.schema import validate

        members: dict[str, Fitted] = {}
        for name in sorted(options.members):
            if name == TEXT:
                members[name] = posterior.classifier(collection.text)
                continue
            method = member(name)
            its = validate(method.section, options.options.get(name, {}), source=f"ensemble.options.{name}")
            members[name] = method.fit(collection, options=its, seed=seed)
        some = drawn(len(collection.image_ids), SAMPLE, seed=seed).numpy()
        features = {space: collection.spaces[space].rows(some) for one in members.values() for space in one.spaces}
        weights = agreement(torch.stack([probabilities(one, features) for one in members.values()]), rounds=options.rounds)
        return Average(members, weights)

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core.algebra import posterior

        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, rest = key.partition(".")
            parts.setdefault(name, {})[rest] = tensor
        weights = parts.pop("weights")[""]
        members = {
            name: posterior.restore(tensors) if name == TEXT else member(name).restore(mine)
            for name, mine in sorted(parts.items())
        }
        return Average(members, weights)


def member(name: str) -> FeatureMethod:
    """A feature method that comes with NoLA.

    Raises:
        NolaError: there is none of that name, or it is of another kind.
    """
    from nola_core.methods import registry

    method = registry.find(name)
    if not isinstance(method, FeatureMethod):
        raise NolaError(f"ensemble.members: '{name}' is a {method.kind} method; use feature methods, or {TEXT} for the text's.")
    return method


def agreement(answers: Tensor, *, rounds: int) -> Tensor:
    """The weights of some members, float32 [M], sum 1; the answers are float32 [M, N, C]."""
    import torch

    classes = answers.argmax(dim=2)
    weights = torch.full((len(answers),), 1 / len(answers))
    for _ in range(rounds):
        average = torch.tensordot(weights, answers, dims=1).argmax(dim=1)
        agreed = (classes == average).float().mean(dim=1) + 1e-6
        new = agreed / agreed.sum()
        if torch.equal(new, weights):
            break
        weights = new
    return weights


class Average(Fitted):
    """The weighted average of fitted members, by name in alphabetical order."""

    def __init__(self, members: Mapping[str, Fitted], weights: Tensor) -> None:
        self.members, self.weights = dict(members), weights
        self.spaces = tuple(sorted({space for one in members.values() for space in one.spaces}))

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        import torch

        total = torch.zeros(())
        for weight, one in zip(self.weights.tolist(), self.members.values(), strict=True):
            total = total + weight * one.predict(features)
        return total

    def tensors(self) -> dict[str, Tensor]:
        members = {f"{name}.{key}": tensor for name, one in self.members.items() for key, tensor in one.tensors().items()}
        return {**members, "weights": self.weights}


METHOD = Ensemble()
