"""Label propagation against the dense solution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nola_core.methods.label_propagation import METHOD
from tests.methods.checks import answers, check_contract
from tests.methods.made import blobs, softmax


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def dense_graph(x: np.ndarray) -> np.ndarray:
    """Normalised: 10 neighbours, cosines to the third, the larger of both directions."""
    cosines = x @ x.T
    np.fill_diagonal(cosines, -2)
    w = np.zeros_like(cosines)
    for i, row in enumerate(cosines):
        for j in np.argsort(-row)[:10]:
            w[i, j] = max(row[j], 0) ** 3
    w = np.maximum(w, w.T)
    root = 1 / np.sqrt(w.sum(axis=1))
    return root[:, None] * w * root


@pytest.mark.parametrize(("spaces", "alpha"), [(["ssl"], 0.9), (["clip", "ssl"], 0.5), (["clip"], 0.0)])
def test_it_is_the_dense_solution(spaces: list[str], alpha: float) -> None:
    made = blobs(60, noise=0.3, text_noise=0.3)
    w = np.mean([dense_graph({"clip": made.x, "ssl": made.g}[name]) for name in spaces], axis=0)
    solved = np.linalg.inv(np.eye(60) - alpha * w) @ softmax(made.logits)
    inductive, transductive = answers(METHOD, made, spaces=spaces, alpha=alpha)
    assert np.allclose(transductive, solved / solved.sum(axis=1, keepdims=True), atol=1e-3)
    if alpha == 0:
        assert np.allclose(inductive, softmax(made.logits), atol=1e-5)


def test_neighbours_correct_a_text_that_is_mostly_right() -> None:
    made = blobs(200, noise=0.1, text_noise=0.45, seed=5)
    zero_shot = made.accuracy(torch.from_numpy(made.logits))
    assert zero_shot < 1
    assert all(made.accuracy(rows) > zero_shot for rows in answers(METHOD, made))
