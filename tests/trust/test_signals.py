"""Agreement with neighbours beside a count by hand, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from nola_core.trust import signals


def rows(seed: int, images: int = 60, classes: int = 3, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = np.eye(classes, 8)[labels] + noise * draw.standard_normal((images, 8))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def by_hand(features: np.ndarray, answers: np.ndarray, asked: int) -> float:
    """Image by image; of equal votes that with the larger sum of cosines."""
    right = 0
    for i in range(asked):
        cosines = features @ features[i]
        cosines[i] = -np.inf
        near = np.argsort(-cosines, kind="stable")[: signals.NEIGHBORS]
        votes = {int(c): ((answers[near] == c).sum(), cosines[near][answers[near] == c].sum()) for c in np.unique(answers[near])}
        right += max(votes, key=lambda c: votes[c]) == answers[i]
    return right / asked


@pytest.mark.parametrize("asked", [60, 20])
def test_it_is_the_share_counted_by_hand(asked: int) -> None:
    for seed in range(5):
        features, labels = rows(seed)
        answers = np.where(np.random.default_rng(seed).random(60) < 0.3, (labels + 1) % 3, labels)
        assert signals.Neighborhood(features, asked).consistency(answers) == pytest.approx(by_hand(features, answers, asked))


def test_the_more_accurate_of_two_methods_agrees_better_with_neighbours() -> None:
    features, labels = rows(0)
    wrong = np.where(np.random.default_rng(1).random(60) < 0.3, (labels + 1) % 3, labels)
    found = signals.consistencies({"clip": features, "ssl": features}, {"right": labels, "wrong": wrong}, 60)
    assert found["right"]["neighbors_clip"] == found["right"]["neighbors_ssl"] > found["wrong"]["neighbors_ssl"] + 0.1
    assert signals.consistencies({"clip": features[:1]}, {"right": labels[:1]}, 1) == {"right": {}}
    assert signals.consistencies({"clip": features[:2]}, {"right": labels[:2]}, 2) == {"right": {"neighbors_clip": 0.0}}


def test_large_collections_are_sampled() -> None:
    some, asked = signals.drawn(7)
    assert some.tolist() == list(range(7)) and asked == 7
    some, asked = signals.drawn(60_000)
    assert len(set(some.tolist())) == signals.GALLERY and asked == signals.QUERIES
