"""Sinkhorn against POT, and its marginals."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.algebra import sinkhorn


def problem(rows: int, columns: int, *, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    wanted = torch.rand(columns, generator=draw) ** 3 + 1e-4
    return spread * torch.randn(rows, columns, generator=draw), torch.full((rows,), 1 / rows), wanted / wanted.sum()


@pytest.mark.parametrize(("spread", "epsilon"), [(1.0, 1.0), (1.0, 0.1), (3.0, 0.05)])
def test_it_agrees_with_pot(spread: float, epsilon: float) -> None:
    scores, rows, columns = problem(30, 6, spread=spread, seed=0)
    plan = sinkhorn.plan(scores, rows, columns, epsilon=epsilon, iterations=5000, tolerance=1e-6)
    cost = -scores.double().numpy()
    marginals = [exact / exact.sum() for exact in (rows.double().numpy(), columns.double().numpy())]
    slow = ot.sinkhorn(*marginals, cost, epsilon, method="sinkhorn_log", numItermax=5000, stopThr=1e-7)
    assert np.allclose(plan.numpy(), slow, atol=3e-6)


def test_every_iteration_is_the_textbooks() -> None:
    """The scalings in float64, where nothing overflows: after few iterations, before convergence, the plans are the same."""
    scores, rows, columns = problem(20, 5, spread=1.0, seed=1)
    kernel = np.exp(scores.double().numpy() / 0.05)
    u = 1 / kernel.sum(axis=1) / 20
    for _ in range(4):
        v = columns.double().numpy() / (u @ kernel)
        u = rows.double().numpy() / (kernel @ v)
    plan = sinkhorn.plan(scores, rows, columns, epsilon=0.05, iterations=4)
    assert np.allclose(plan.numpy(), u[:, None] * kernel * v, atol=1e-6)


@given(st.integers(1, 12), st.integers(1, 8), st.sampled_from([0.1, 5.0, 500.0]), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_marginals_hold(rows: int, columns: int, spread: float, seed: int) -> None:
    scores, p, q = problem(rows, columns, spread=spread, seed=seed)
    plan = sinkhorn.plan(scores, p, q, epsilon=1.0, iterations=400, tolerance=1e-4)
    assert torch.isfinite(plan).all() and (plan >= 0).all()
    assert torch.allclose(plan.sum(dim=1), p, atol=1e-6)
    if spread < 100:  # beyond, the plan is a matching, which Sinkhorn reaches slowly
        assert torch.allclose(plan.sum(dim=0), q, atol=1e-3)


def test_a_class_far_from_all_images_gets_its_share_and_one_without_a_share_nothing() -> None:
    scores = torch.zeros(10, 3)
    scores[:, 1] = -400  # exp of it is 0 in float32
    plan = sinkhorn.plan(scores, torch.ones(10), torch.tensor([5.0, 5.0, 0.0]), epsilon=1.0, iterations=50)
    assert torch.allclose(plan, torch.tensor([0.5, 0.5, 0.0]).expand(10, 3), atol=1e-5)
