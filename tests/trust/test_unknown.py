"""Unknown scores against their definitions, written as loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from nola_core.trust import unknown


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_are_their_definitions() -> None:
    logits, no = 3 * drawn(7, 4), 3 * drawn(7, 4, seed=1)
    p = logits.double().softmax(dim=1).numpy()
    assert np.allclose(unknown.softmax(torch.from_numpy(p)), [1 - max(row) for row in p])
    assert np.allclose(unknown.energy(logits), [-np.log(np.exp(row).sum()) for row in logits.double().numpy()], atol=1e-5)
    deny = [sum(p[i, c] / (1 + np.exp(float(logits[i, c] - no[i, c]))) for c in range(4)) for i in range(7)]
    assert np.allclose(unknown.denied(logits, no), deny, atol=1e-5)
    other = no.softmax(dim=1)
    both = [1 - max((a + b) / 2 for a, b in zip(p[i], other[i].tolist(), strict=True)) for i in range(7)]
    assert np.allclose(unknown.averaged(torch.from_numpy(p).float(), other), both, atol=1e-6)


def test_distances_are_those_of_a_loop() -> None:
    x, gallery = normalize(drawn(6, 5), dim=1), normalize(drawn(9, 5, seed=1), dim=1)
    cosines = [[float(a.double() @ b.double()) for b in gallery] for a in x]
    assert np.allclose(unknown.from_means(x, gallery), [1 - max(row) for row in cosines], atol=1e-6)
    assert np.allclose(unknown.from_neighbors(x, gallery, 3), [1 - sorted(row)[-3] for row in cosines], atol=1e-6)
    assert np.allclose(unknown.from_neighbors(x, gallery, 99), [1 - min(row) for row in cosines], atol=1e-6)


def test_means_in_parts_are_the_weighted_means() -> None:
    x, p = normalize(drawn(8, 5), dim=1), drawn(8, 3).softmax(dim=1)
    best, columns = p.topk(2, dim=1)
    means = unknown.Means(4, 5)
    for rows in (slice(0, 3), slice(3, 8)):
        means.add(x[rows], columns[rows], best[rows])
    kept = unknown.spread(columns, best, 4)
    assert torch.allclose(means.result(), normalize(kept.T @ x, dim=1), atol=1e-6)
    assert not means.result()[3].any()


@pytest.mark.parametrize("present", [[0, 2], [0, 2, 3]])
def test_the_probe_is_scikit_learns_and_knows_no_class_it_never_saw(present: list[int]) -> None:
    from sklearn.linear_model import LogisticRegression

    labels = np.array(present)[np.arange(30) % len(present)]
    x = normalize(torch.eye(5)[labels] + 0.3 * drawn(30, 5), dim=1)
    probe = unknown.Probe.fit(x.numpy(), labels, classes=5)
    assert probe is not None
    expected = LogisticRegression(C=unknown.PROBE_PENALTY, max_iter=100).fit(x.numpy(), labels).predict_proba(x.numpy())
    found = probe.predict(x)
    assert np.allclose(found[:, present], expected, atol=1e-4)
    assert not found[:, [c for c in range(5) if c not in present]].any()
    assert unknown.Probe.fit(x.numpy(), np.zeros(30, dtype=np.int64), classes=5) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.lists(st.floats(-5, 5), max_size=5))
def test_percentiles_count_what_is_below(among: list[float], values: list[float]) -> None:
    expected = [sum(one < value for one in among) / len(among) for value in values]
    assert np.allclose(unknown.percentiles(np.array(among), np.array(values)), expected)
