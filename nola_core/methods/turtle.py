"""TURTLE anchored to the names: a labelling that is easy to learn in every space and starts at the text's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Positive, Rate, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection


class Options(Section):
    """Section `turtle` of params.yaml."""

    spaces: list[str] = Field(default=["clip", "ssl"], min_length=1)
    components: Positive = 128
    """Principal components of each space that the heads and classifiers read."""
    steps: Positive = 300
    """Of the labelling; 6,000 in the paper."""
    batch_size: Positive = 2048
    """Images a step; 10,000 in the paper."""
    inner_steps: Positive = 10
    """Of the classifier that learns the labelling anew in every step."""
    learning_rate: Rate = 0.003
    """Of the labelling; 0.001 in the paper, with its twenty times as many steps."""
    inner_learning_rate: Rate = 0.01
    """Of the classifiers; 0.001 in the paper."""
    warm_steps: Positive = 50
    """In which the heads of the other spaces than CLIP's first learn the text's posterior."""
    balance: Literal["estimated", "uniform", "power_law"] = "estimated"
    """The class proportions that the labelling is held near: those estimated from the text's posterior; uniform, as in the paper,
    which fails where classes are missing; or any order of a power law, as in PET-TURTLE."""
    balance_weight: float = Field(default=10.0, ge=0)
    """Of the divergence from these proportions: gamma of the paper."""
    exponent: float = Field(default=0.5, ge=0)
    """Of the power law 1 / rank^exponent."""
    sparse: bool = False
    """Sparsemax in the labelling heads, as in PET-TURTLE, instead of softmax."""
    anchor: float = Field(default=1.0, ge=0)
    """Weight of the divergence from the text's posterior in the first step; it falls to 0 in the last."""
    temperature: float = Field(default=1.0, gt=0)
    """The text's logits are divided by it."""


class Turtle(FeatureMethod):
    """A labelling that linear classifiers learn easily in every space: the mean of a labelling head in each.

    The original has no names: its heads start at random. Here CLIP's head is the text's logits plus a linear part that starts
    at zero, the others start from the text's posterior, and a divergence from this posterior fades out. It copes with missing
    classes and weak spaces, and is the slowest by far: it solves a small training problem in every step.
    """

    name = "turtle"
    title = "TURTLE, anchored"
    summary = "labelling that linear classifiers learn easily in every space, started from the text's answers"
    paper = (
        "Gadetsky et al., Let Go of Your Labels with Unsupervised Transfer, ICML 2024, section 3; options balance and sparse: "
        "PET-TURTLE, its variant for imbalanced collections"
    )
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import blocks, labelling, posterior
        from nola_core.algebra.anchors import drawn
        from nola_core.algebra.reduction import SAMPLE, Reduced

        text, logits = posterior.of_all(collection)
        logits = logits / options.temperature
        given = logits.softmax(dim=1)
        some = drawn(len(given), SAMPLE, seed=seed)
        heads: dict[str, labelling.Head] = {}
        tensors: dict[str, Tensor] = {}
        for name, space in blocks.chosen(collection, options.spaces).items():
            reduced = Reduced.of(space, options.components, seed=seed)
            z = scaled(reduced.features)
            if name == posterior.SPACE:
                weights, bias = torch.zeros(given.shape[1], z.shape[1]), torch.zeros(given.shape[1])
            else:
                warm, rate = options.warm_steps, options.inner_learning_rate
                weights, bias = labelling.fitted(z[some], given[some], steps=warm, learning_rate=rate)
            heads[name] = labelling.Head(z, weights, bias, logits if name == posterior.SPACE else None)
            tensors |= {f"{name}.{key}": tensor for key, tensor in reduced.components.tensors().items()}
        how = {key: value for key, value in options if key in labelling.Search.__annotations__}
        labelling.search(heads, given, labelling.Search(**how, seed=seed))
        for name, head in heads.items():
            tensors |= {f"{name}.weights": head.weights, f"{name}.bias": head.bias}
        return Labelling(
            {
                **posterior.tensors(text),
                **tensors,
                "temperature": torch.tensor(options.temperature, dtype=torch.float64),
                "sparse": torch.tensor(float(options.sparse)),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Labelling(tensors)


def scaled(features: Tensor) -> Tensor:
    """Unit rows [B, k] at length sqrt(k): each coordinate varies by about 1, which Adam's steps are sized for."""
    return features * features.shape[1] ** 0.5


class Labelling(Fitted):
    """The mean answer of the heads."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.components import Components
        from nola_core.algebra.gaussian import Discriminant
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text = posterior.restore(tensors)
        names = sorted(name.removesuffix(".bias") for name in tensors if name.endswith(".bias"))
        self._heads = {
            name: (
                Components(tensors[f"{name}.mean"], tensors[f"{name}.basis"]),
                Discriminant(tensors[f"{name}.weights"], tensors[f"{name}.bias"]),
            )
            for name in names
        }
        self._temperature, self._sparse = float(tensors["temperature"]), bool(tensors["sparse"])
        self.spaces = tuple(names)

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        import torch

        from nola_core.algebra import labelling, posterior

        activation = labelling.sparsemax if self._sparse else labelling.softmax
        answers = []
        for name, (components, head) in self._heads.items():
            logits = head(scaled(components(features[name])))
            if name == posterior.SPACE:
                logits = logits + posterior.logits(self._text, features[name]) / self._temperature
            answers.append(activation(logits))
        return torch.stack(answers).mean(dim=0)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = Turtle()
