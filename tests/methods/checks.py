"""What holds of every feature method on every collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nola_core.methods import storage
from nola_core.methods.collection import Space, probabilities
from nola_core.methods.method import FeatureMethod, Fitted, FittedMethod
from tests.methods.made import Made, blobs, collection, features, made


def survives(method: FeatureMethod, options: Any) -> None:
    """Any number of names and images: distributions, no NaN, the same again with the same seed."""
    for counts in ([1], [4], [0, 1, 0], [1, 1], [12, 0], [6, 0, 0, 9, 1], [3] * 7):
        some, truth = made(counts, descriptions=2)
        fitted = method.fit(some, options=options, seed=1)
        p = probabilities(fitted, features(some))
        assert p.shape == (len(truth), len(counts)) and p.dtype == torch.float32, counts
        assert torch.isfinite(p).all() and (p >= 0).all(), counts
        torch.testing.assert_close(p.sum(dim=1), torch.ones(len(truth)), msg=f"{counts}")
        again = method.fit(some, options=options, seed=1)
        assert torch.equal(probabilities(again, features(some)), p), counts


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


def check_contract(method: FeatureMethod, folder: Path, **options: Any) -> None:
    """All that follows, for methods that take the text's answers as a start."""
    check_predictions(method, folder / "fitted.safetensors", **options)
    check_hard_cases(method, **options)
    check_exact_text_survives(method, **options)

    @given(st.integers(0, 1000))
    @settings(max_examples=5, deadline=None)
    def in_any_order(seed: int) -> None:
        check_order_does_not_matter(method, seed, **options)

    in_any_order()


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
    for one in [*cases, Made(collection(rows, text.weights, equal.collection.names), equal.labels)]:
        count, classes = len(one.labels), len(one.collection.names)
        for rows_of in (*answers(method, one, **options), probabilities(fit(method, one, **options), blobs(30).features)):
            is_distribution(rows_of, len(rows_of), classes)
        assert len(answers(method, one, **options)[1]) == count


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
