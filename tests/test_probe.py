"""The nearest-neighbour probe compared with votes counted by hand and with scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from nola_core import probe
from nola_core.probe import knn_accuracy, ssl_knn


def unit(generator: np.random.Generator, rows: int) -> np.ndarray:
    vectors = generator.normal(size=(rows, 6)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@given(st.integers(0, 10_000), st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_knn_equals_a_vote_counted_by_hand(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    gallery, queries = unit(generator, 30), unit(generator, 10)
    gallery_classes, query_classes = generator.integers(0, 3, 30), generator.integers(0, 3, 10)

    def answer(query: np.ndarray, rows: list[int]) -> int:
        nearest = sorted(rows, key=lambda row: -float(gallery[row] @ query))[:k]
        votes = dict.fromkeys(range(3), (0, 0.0))
        for row in nearest:
            count, total = votes[int(gallery_classes[row])]
            votes[int(gallery_classes[row])] = (count + 1, total + float(gallery[row] @ query))
        return max(votes, key=lambda c: votes[c])

    right = [answer(query, list(range(30))) == c for query, c in zip(queries, query_classes, strict=True)]
    assert knn_accuracy(gallery, gallery_classes, queries, query_classes, k) == pytest.approx(np.mean(right))
    others = [answer(gallery[i], [j for j in range(30) if j != i]) == gallery_classes[i] for i in range(30)]
    assert knn_accuracy(gallery, gallery_classes, None, None, k) == pytest.approx(np.mean(others))


def test_nearest_neighbour_equals_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    gallery, queries = unit(generator, 80), unit(generator, 40)
    gallery_classes, query_classes = generator.integers(0, 4, 80), generator.integers(0, 4, 40)
    oracle = KNeighborsClassifier(1, metric="cosine").fit(gallery, gallery_classes).score(queries, query_classes)
    assert knn_accuracy(gallery, gallery_classes, queries, query_classes, 1) == pytest.approx(oracle)


def test_an_image_never_votes_for_itself_even_among_copies() -> None:
    gallery = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (9, 1))
    gallery_classes = np.array([0] + [1] * 8)
    # The one image of class 0 sees only class 1; the others see at least two of their own among three.
    assert knn_accuracy(gallery, gallery_classes, None, None, 3) == pytest.approx(8 / 9)


def test_more_neighbours_than_images_uses_all_there_are() -> None:
    gallery = np.eye(3, dtype=np.float32)
    assert knn_accuracy(gallery, np.array([0, 0, 1]), gallery, np.array([0, 0, 0]), 50) == 1


@pytest.mark.parametrize("asked", [1, 4, 9])
def test_without_queries_the_first_images_can_be_asked_about_alone(asked: int) -> None:
    generator = np.random.default_rng(3)
    gallery, classes = unit(generator, 9), generator.integers(0, 3, 9)
    single = [knn_accuracy(np.roll(gallery, -i, axis=0), np.roll(classes, -i), None, None, 3, asked=1) for i in range(asked)]
    assert knn_accuracy(gallery, classes, None, None, 3, asked=asked) == pytest.approx(np.mean(single))


def test_votes_counted_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    gallery, classes = unit(generator, 60), generator.integers(0, 3, 60)
    whole = knn_accuracy(gallery, classes, None, None, 5)
    monkeypatch.setattr(probe, "VOTES", 7)
    assert knn_accuracy(gallery, classes, None, None, 5) == whole


class Store:
    """The part of a feature store that the probe uses; the images of a class are on one axis."""

    def rows(self, image_ids: pd.Series[str]) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[[int(name.split("-")[1]) for name in image_ids]]


@pytest.mark.parametrize("split", ["train", "test"])
def test_large_collections_are_drawn_from(monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    monkeypatch.setattr(probe, "GALLERY", 30)
    monkeypatch.setattr(probe, "QUERIES", 10)
    rows = [(f"{name}{n}-{n % 3}", name, n % 3) for name in ("train", "test") for n in range(60)]
    known = pd.DataFrame(rows, columns=["image_id", "split", "class_id"])
    found = ssl_knn(lambda name: Store(), known, split=split, k=3)  # type: ignore[arg-type,return-value]
    assert found == {"top1": 1.0, "neighbors": 3, "images": 10, "gallery": 30}
