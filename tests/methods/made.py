"""Collections and class texts made for tests of methods, in which the right answers are known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.methods.collection import Collection, Descriptions, Space, Texts
from nola_core.text_classifier import TextClassifier, fill

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


def encode(texts: Sequence[str], *, dim: int = 16) -> Tensor:
    """A fixed random unit vector a text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) for text in texts]
    return normalize(torch.stack([torch.randn(dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]), dim=1)


def made_texts(names: list[str], descriptions: list[list[str]] | None = None) -> Texts:
    """Two templates, and descriptions if given."""
    patterns = ["a photo of a {}.", "art of {}"]
    return Texts(names, fill(patterns, names), descriptions or [[] for _ in names], encode, 20.0, patterns)


def made(
    counts: Sequence[int],
    *,
    dim: int = 16,
    spread: float = 0.3,
    confusion: float = 0.8,
    scale: float = 10.0,
    descriptions: int = 0,
    per_class: int = 5,
    seed: int = 0,
) -> tuple[Collection, Tensor]:
    """Blobs in two spaces, class c with `counts[c]` images, and their classes, int64 [N].

    Args:
        spread: noise of the images in SSL space; in CLIP's they are noisier, so that the text classifier errs.
        confusion: how far each class's text is mixed with noise.
        scale: of the text classifier's logits.
        descriptions: texts a class, near its own embedding.
        per_class: pseudo-labels a class, the most confident ones.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = len(counts)
    truth = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    truth = truth[torch.randperm(len(truth), generator=generator)]
    centres = {role: normalize(torch.randn(classes, dim, generator=generator), dim=1) for role in ("clip", "ssl")}
    spaces = {
        role: Space((centres[role][truth] + noise * torch.randn(len(truth), dim, generator=generator)).half().numpy())
        for role, noise in (("clip", 2 * spread), ("ssl", spread))
    }
    phi = normalize(centres["clip"] + confusion * torch.randn(classes, dim, generator=generator) / dim**0.5, dim=1)
    text = TextClassifier(phi, scale)
    ids = pd.Series([f"{row:04d}" for row in range(len(truth))])
    best = text.predict({"clip": spaces["clip"].block(0, len(truth))}).max(dim=1)
    table = pd.DataFrame({"image_id": ids, "class_id": best.indices.numpy().astype(np.int32), "confidence": best.values.numpy()})
    chosen = table.sort_values("confidence", ascending=False, kind="stable").groupby("class_id").head(per_class)
    owners = torch.arange(classes).repeat_interleave(descriptions)
    rows = normalize(phi[owners] + torch.randn(len(owners), dim, generator=generator) / dim**0.5, dim=1)
    collection = Collection(
        names=[f"class {row}" for row in range(classes)],
        image_ids=ids,
        spaces=spaces,
        text=text,
        pseudo_labels=chosen.reset_index(drop=True),
        descriptions=Descriptions(owners, rows),
    )
    return collection, truth


def features(collection: Collection) -> dict[str, Tensor]:
    """All rows of all spaces."""
    return {role: space.block(0, len(space)) for role, space in collection.spaces.items()}


def permuted(collection: Collection, order: Tensor) -> Collection:
    """The same collection with its classes in another order: new class i is old class order[i]."""
    assert isinstance(collection.text, TextClassifier)
    place = order.argsort()
    labels = collection.pseudo_labels
    return Collection(
        names=[collection.names[row] for row in order.tolist()],
        image_ids=collection.image_ids,
        spaces=collection.spaces,
        text=TextClassifier(collection.text.weights[order], collection.text.logit_scale),
        pseudo_labels=labels.assign(class_id=place.numpy()[labels["class_id"].to_numpy()]),
        descriptions=Descriptions(place[collection.descriptions.class_ids], collection.descriptions.features),
    )
