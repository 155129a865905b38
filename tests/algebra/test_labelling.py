import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from nola_core.algebra.labelling import divergence, fitted, sparsemax


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_sparsemax_is_the_projection_on_the_simplex() -> None:
    logits = 2 * torch.randn(50, 6, generator=generator(), dtype=torch.float64)
    for row, found in zip(logits, sparsemax(logits), strict=True):
        low, high = row.min() - 1, row.max()
        for _ in range(60):  # the threshold by bisection
            middle = (low + high) / 2
            low, high = (middle, high) if (row - middle).clamp_min(0).sum() > 1 else (low, middle)
        torch.testing.assert_close(found, (row - low).clamp_min(0))
    assert (sparsemax(logits) == 0).any()
    assert sparsemax(torch.tensor([[3.0]])).item() == 1


def test_the_gradient_of_sparsemax_is_exact() -> None:
    logits = torch.randn(4, 5, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sparsemax, logits)


def test_the_inner_classifier_is_torchs_adam_on_soft_cross_entropy() -> None:
    z = torch.randn(30, 4, generator=generator())
    tau = torch.randn(30, 3, generator=generator()).softmax(dim=1)
    oracle = torch.nn.Linear(4, 3)
    torch.nn.init.zeros_(oracle.weight)
    torch.nn.init.zeros_(oracle.bias)
    optimizer = torch.optim.Adam(oracle.parameters(), lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        cross_entropy(oracle(z), tau).backward()
        optimizer.step()
    weights, bias = fitted(z, tau, steps=10, learning_rate=0.05)
    torch.testing.assert_close(weights, oracle.weight.detach(), atol=1e-4, rtol=0)
    torch.testing.assert_close(bias, oracle.bias.detach(), atol=1e-4, rtol=0)


def test_divergence_is_kullback_leibler_and_bears_zeros() -> None:
    p, q = torch.randn(2, 7, 5, generator=generator()).softmax(dim=2)
    torch.testing.assert_close(divergence(p, q), kl_div(q.log(), p, reduction="batchmean"))
    zeros = torch.tensor([1.0, 0.0], requires_grad=True)
    found = divergence(zeros, torch.tensor([0.5, 0.5]))
    found.backward()
    assert found.item() == pytest.approx(0.6931, abs=1e-4)
    assert zeros.grad is not None and torch.isfinite(zeros.grad).all()
