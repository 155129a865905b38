"""Groups of images that fit no name, on hand-made scores and features."""

from __future__ import annotations

import numpy as np
import pytest

from nola_core.neighbors import Gallery
from nola_core.trust import groups


def blobs(*sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of tight clusters at right angles, and the cluster of each."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(8)[cluster] + 0.05 * np.random.default_rng(0).standard_normal((len(cluster), 8)), cluster


def find(scores: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, list[int]]:
    ids = [str(image) for image in range(len(scores))]
    group_of, table = groups.find(
        scores, np.zeros(len(scores), np.int32), ids, Gallery([features.astype(np.float16)]), classes=100
    )
    assert [int((group_of == group).sum()) for group in table["group"]] == table["images"].tolist()
    return group_of, table["images"].tolist()


def test_two_groups_and_the_fringe_of_a_class_that_has_a_name() -> None:
    features, cluster = blobs(30, 20, 60)
    scores = np.where(cluster == 2, 0.1, 0.7)
    scores[np.flatnonzero(cluster == 2)[::4]] = 0.9  # a quarter of a named class, spread over it
    group_of, sizes = find(scores, features)
    assert sizes == [30, 20] and not group_of[cluster == 2].any()
    assert len(set(group_of[cluster == 0])) == len(set(group_of[cluster == 1])) == 1


@pytest.mark.parametrize("score", [0.1, 0.49])
def test_images_that_fit_are_in_no_group(score: float) -> None:
    features, _ = blobs(30, 30)
    assert find(np.full(60, score), features)[1] == []


def test_few_images_are_no_group_and_copies_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    features, cluster = blobs(groups.SMALLEST - 1, 40)
    assert find(np.where(cluster == 0, 0.9, 0.1), features)[1] == []
    assert find(np.full(3, 0.9), features[:3])[1] == [] == find(np.zeros(0), features[:0])[1]
    same = np.ones((11, 8))
    assert find(np.full(11, 0.9), same)[1] == [11]
    monkeypatch.setattr(groups, "CANDIDATES", 10)  # only the highest are looked at
    features, cluster = blobs(30, 30)
    group_of, sizes = find(np.where(cluster == 0, 0.9, 0.1), features)
    assert sum(sizes) <= 10 and not group_of[30:].any()


def test_sentences() -> None:
    table = groups.SCHEMA.empty_table().to_pandas()
    assert groups.sentence(table) == "No group of similar images was found that fits none of the names."
    table = table.reindex([0, 1]).assign(images=[1200, 9])
    assert groups.sentence(table) == "1,209 images in 2 groups look alike and fit none of the names."
