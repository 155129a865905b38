"""Made collections in which the right answers are known, and what every method on features must hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.methods import storage
from nola_core.methods.collection import Collection, Space, probabilities
from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.text_classifier import TextClassifier

SCALE = 20.0


@dataclass(frozen=True)
class Made:
    collection: Collection
    labels: Tensor

    @property
    def features(self) -> dict[str, Tensor]:
        """Those of the collection, as `predict` takes them."""
        return {name: space.block(0, len(space)) for name, space in self.collection.spaces.items()}

    @property
    def x(self) -> np.ndarray:
        return self.features["clip"].double().numpy()

    @property
    def g(self) -> np.ndarray:
        return self.features["ssl"].double().numpy()

    @property
    def logits(self) -> np.ndarray:
        text: Any = self.collection.text
        return SCALE * self.x @ text.weights.double().numpy().T

    def accuracy(self, answers: Tensor) -> float:
        return float((answers.argmax(dim=1) == self.labels).float().mean())

    def taken(self, images: Tensor, classes: Tensor | None = None) -> Made:
        """Some images in some order; class c of the result is `classes[c]` of this."""
        text: Any = self.collection.text
        names = self.collection.names
        order = torch.arange(len(names)) if classes is None else classes
        spaces = {name: Space(space.features[images.numpy()]) for name, space in self.collection.spaces.items()}
        return Made(
            collection(spaces, text.weights[order], [names[c] for c in order.tolist()]), order.argsort()[self.labels[images]]
        )


def collection(spaces: dict[str, Space], weights: Tensor, names: list[str]) -> Collection:
    ids = pd.Series([f"i{n}" for n in range(len(spaces["clip"]))])
    chosen = pd.DataFrame({"image_id": [], "class_id": [], "confidence": []})
    return Collection(names, ids, spaces, TextClassifier(weights, SCALE), chosen)


def blobs(
    images: int = 120,
    classes: int = 4,
    *,
    occurring: int | None = None,
    noise: float = 0.15,
    text_noise: float = 0.15,
    seed: int = 0,
) -> Made:
    """Classes around directions at right angles, in CLIP's space of 12 dimensions and the SSL space of 10; texts near CLIP's."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % (occurring or classes)
    spaces = {}
    for name, dim in (("clip", 12), ("ssl", 10)):
        centres = torch.linalg.qr(torch.randn(max(dim, classes), max(dim, classes), generator=draw))[0][:classes, :dim]
        rows = centres[labels] + noise * torch.randn(images, dim, generator=draw)
        spaces[name] = Space(normalize(rows, dim=1).half().numpy())
        if name == "clip":
            weights = normalize(centres + text_noise * torch.randn(classes, dim, generator=draw), dim=1)
    return Made(collection(spaces, weights, [f"c{n}" for n in range(classes)]), labels)


def softmax(logits: np.ndarray) -> np.ndarray:
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    return rows / rows.sum(axis=1, keepdims=True)


def fit(method: FeatureMethod, made: Made, **options: Any) -> Fitted:
    return method.fit(made.collection, options=method.section(**options), seed=0)


def answers(method: FeatureMethod, made: Made, **options: Any) -> tuple[Tensor, Tensor]:
    """Inductive, of the very images; and transductive, or the same."""
    fitted = fit(method, made, **options)
    inductive = probabilities(fitted, made.features)
    return inductive, inductive if fitted.transduced is None else fitted.transduced


def is_distribution(rows: Tensor, count: int, classes: int) -> None:
    assert rows.shape == (count, classes) and rows.dtype == torch.float32
    assert (rows >= 0).all() and torch.allclose(rows.sum(dim=1), torch.ones(count), atol=1e-5)  # NaN fails both


def check_predictions(method: FeatureMethod, path: Path, **options: Any) -> None:
    """Every row from its own features alone, to the bit; and the same from a file."""
    made = blobs()
    fitted = fit(method, made, **options)
    new = blobs(300, seed=0).taken(torch.arange(40, 300)).features
    whole = probabilities(fitted, new)
    is_distribution(whole, 260, 4)
    order = torch.randperm(260, generator=torch.Generator().manual_seed(1))[:31]
    assert torch.equal(probabilities(fitted, {name: rows[order] for name, rows in new.items()}), whole[order])
    storage.write(path, method, fitted.tensors())
    restored = storage.read_fitted(path, method)
    assert restored.spaces == fitted.spaces and restored.transduced is None
    assert torch.equal(probabilities(restored, new), whole)
    assert (fitted.transduced is not None) == method.transductive
    if fitted.transduced is not None:
        is_distribution(fitted.transduced, 120, 4)


def check_hard_cases(method: FeatureMethod, **options: Any) -> None:
    """One image, fewer images than names, equal images, classes that nobody predicts: answers are still distributions."""
    equal = blobs(9)
    rows = {name: Space(np.repeat(space.features[:1], 9, axis=0)) for name, space in equal.collection.spaces.items()}
    text: Any = equal.collection.text
    cases = [blobs(1, 2), blobs(2, 2), blobs(3, 10), blobs(60, 10, occurring=2)]
    for made in [*cases, Made(collection(rows, text.weights, equal.collection.names), equal.labels)]:
        count, classes = len(made.labels), len(made.collection.names)
        for rows_of in (*answers(method, made, **options), probabilities(fit(method, made, **options), blobs(30).features)):
            is_distribution(rows_of, len(rows_of), classes)
        assert len(answers(method, made, **options)[1]) == count


def check_exact_text_survives(method: FeatureMethod, **options: Any) -> None:
    """Where the text is right about every image, so is the method, with and without classes that do not occur."""
    for occurring in (4, 2):
        made = blobs(100, 4, occurring=occurring, noise=0.05, text_noise=0.0)
        assert made.accuracy(torch.from_numpy(made.logits)) == 1
        assert [made.accuracy(rows) for rows in answers(method, made, **options)] == [1, 1]


def check_order_does_not_matter(method: FeatureMethod, seed: int, **options: Any) -> None:
    """Other orders of images and of classes: the same answers in that order."""
    draw = torch.Generator().manual_seed(seed)
    made = blobs(50, 4, noise=0.2, seed=seed)
    images, classes = torch.randperm(50, generator=draw), torch.randperm(4, generator=draw)
    for mine, other in zip(
        answers(method, made, **options), answers(method, made.taken(images, classes), **options), strict=True
    ):
        assert torch.allclose(mine[images][:, classes], other, atol=2e-3)
