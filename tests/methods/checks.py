"""What holds of every feature method on every collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nola_core.methods import storage
from nola_core.methods.collection import probabilities
from nola_core.methods.method import FeatureMethod, Fitted, FittedMethod
from tests.methods.samples import features, made


def survives(method: FeatureMethod, options: Any) -> None:
    """Any number of names and images: distributions, no NaN, the same again with the same seed."""
    for counts in ([1], [4], [0, 1, 0], [1, 1], [12, 0], [6, 0, 0, 9, 1], [3] * 7):
        collection, truth = made(counts, descriptions=2)
        fitted = method.fit(collection, options=options, seed=1)
        p = probabilities(fitted, features(collection))
        assert p.shape == (len(truth), len(counts)) and p.dtype == torch.float32, counts
        assert torch.isfinite(p).all() and (p >= 0).all(), counts
        torch.testing.assert_close(p.sum(dim=1), torch.ones(len(truth)), msg=f"{counts}")
        again = method.fit(collection, options=options, seed=1)
        assert torch.equal(probabilities(again, features(collection)), p), counts


def is_restored(method: FittedMethod, fitted: Fitted, asked: Mapping[str, Tensor], folder: Path) -> None:
    """Written and read it gives the same bits, and a row's bits are its own."""
    path = folder / "fitted.safetensors"
    storage.write(path, method, fitted.tensors())
    read = storage.read_fitted(path, method)
    assert read.spaces == fitted.spaces
    p = probabilities(fitted, asked)
    assert torch.equal(probabilities(read, asked), p)
    for rows in (slice(0, 1), slice(3, 5), slice(1, None)):
        assert torch.equal(probabilities(read, {space: features[rows] for space, features in asked.items()}), p[rows]), rows
