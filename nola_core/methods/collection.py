"""What a method is fitted on: the class texts, and the features of the unlabeled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nola_core.batches import ROWS, in_batches
from nola_core.features import FeatureStore
from nola_core.methods.method import Encode, Fitted


@dataclass(frozen=True)
class Texts:
    """What is known about the classes in words.

    Attributes:
        names: display names by class id.
        templates: every template with the class name filled in, a list a class.
        descriptions: the sentences in use about each class; empty lists where there are none.
        encode: CLIP's text tower.
        logit_scale: of CLIP, s = exp(logit_scale), about 100.
        patterns: the templates as written, `{}` for the name.
    """

    names: list[str]
    templates: list[list[str]]
    descriptions: list[list[str]]
    encode: Encode
    logit_scale: float
    patterns: list[str]


@dataclass(frozen=True)
class Space:
    """The features of some images in one space, read in blocks, so that memory holds a fraction of a large collection.

    Attributes:
        features: float16 [M, d], as the encoder gave them; usually a memory map.
        places: int64 [N], the row of each image; None where image i is row i.
    """

    features: np.ndarray
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features) if self.places is None else len(self.places)

    def only(self, images: np.ndarray) -> Space:
        """Some images by number, int64 [n], as a space of their own."""
        return Space(self.features, images if self.places is None else self.places[images])

    @property
    def dim(self) -> int:
        """D."""
        return int(self.features.shape[1])

    def block(self, start: int, stop: int) -> Tensor:
        """L2-normalised features of the images from `start` to before `stop`, float32 [n, d]."""
        wanted = slice(start, stop) if self.places is None else self.places[start:stop]
        return _unit(self.features[wanted])

    def rows(self, images: np.ndarray) -> Tensor:
        """L2-normalised features of some images by number, float32 [n, d]."""
        return _unit(self.features[images if self.places is None else self.places[images]])


def _unit(rows: np.ndarray) -> Tensor:
    """As `features.normalized`, to the same bits, in a third of the time: torch widens float16 faster than numpy."""
    values = torch.from_numpy(np.array(rows)).float().numpy()
    norms = np.sqrt(np.add.reduce(values * values, axis=1, keepdims=True))
    values /= np.maximum(norms, np.finfo(np.float32).tiny)
    return torch.from_numpy(values)


@dataclass(frozen=True)
class Descriptions:
    """The sentences in use about the classes, as CLIP's text tower gave them.

    Attributes:
        class_ids: int64 [T], the class of each.
        features: float32 [T, d], L2-normalised.
    """

    class_ids: Tensor
    features: Tensor

    @classmethod
    def none(cls) -> Descriptions:
        """Of a collection without any."""
        return cls(torch.empty(0, dtype=torch.int64), torch.empty(0, 0))


@dataclass(frozen=True)
class Collection:
    """The unlabeled train images of a collection. Image i is row i of every space.

    Attributes:
        names: class names by class id.
        image_ids: N of them, all different.
        spaces: `clip`, `ssl` -> features.
        text: the fitted text classifier that all methods start from.
        pseudo_labels: `image_id, class_id, confidence` of the images selected by it (stage `select`).
        descriptions: the class descriptions as features; text is encoded in stage `classify` alone.
        given: image -> class, where a person said it; the text's answers that `posterior.of_all` gives are sure of it.
    """

    names: list[str]
    image_ids: pd.Series[str]
    spaces: Mapping[str, Space]
    text: Fitted
    pseudo_labels: pd.DataFrame
    descriptions: Descriptions = field(default_factory=Descriptions.none)
    given: Mapping[int, int] = field(default_factory=dict)

    def positions(self, image_ids: pd.Series[str]) -> np.ndarray:
        """Which images these are, int64 [n]."""
        return pd.Index(self.image_ids).get_indexer(pd.Index(image_ids))


def spaces(stores: Mapping[str, FeatureStore]) -> dict[str, Space]:
    """The spaces of some feature stores of one split, their rows in the order of the first.

    Raises:
        NolaError: an image of the first is not in another.
    """
    ids = next(iter(stores.values())).index["image_id"]
    return {
        role: Space(store.features, None if ids.equals(store.index["image_id"]) else store.positions(ids))
        for role, store in stores.items()
    }


def probabilities(fitted: Fitted, features: Mapping[str, Tensor]) -> Tensor:
    """`fitted.predict` in batches of a fixed size: the bits of a row depend on that row alone. float32 [B, C]."""
    return in_batches(
        lambda *rows: fitted.predict(dict(zip(fitted.spaces, rows, strict=True))),
        *(features[space] for space in fitted.spaces),
        size=ROWS,
    )


def answers(fitted: Fitted, spaces: Mapping[str, Space]) -> Callable[[int, int], Tensor]:
    """`probabilities` of the images of some spaces, from a start to before a stop."""
    return lambda start, stop: probabilities(fitted, {space: spaces[space].block(start, stop) for space in fitted.spaces})


def pinned(answers: Callable[[int, int], Tensor], given: Mapping[int, int]) -> Callable[[int, int], Tensor]:
    """`answers`, with probability 1 for the class of every image that a person gave to one.

    Args:
        given: image -> class.
    """
    if not given:
        return answers

    def sure(start: int, stop: int) -> Tensor:
        p = answers(start, stop).clone()
        for image in given.keys() & range(start, stop):
            p[image - start] = 0
            p[image - start, given[image]] = 1
        return p

    return sure
