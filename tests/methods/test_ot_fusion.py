"""OT fusion against its equations in loops, with the proportions it is held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nola_core.methods.ot_fusion import METHOD
from tests.methods.checks import answers, check_contract
from tests.methods.made import Made, blobs, softmax


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(METHOD, tmp_path)


def slow_fusion(made: Made, *, iterations: int, uniform: float) -> tuple[np.ndarray, np.ndarray]:
    """The equations of METHODS, an image at a time, with textbook Sinkhorn in float64. The plan, and the mean of the experts."""
    text = softmax(made.logits)
    (count, classes), spaces = text.shape, [made.x, made.g]
    models = []
    for x in spaces:
        means = np.array([x[np.argsort(-text[:, c], kind="stable")[:8]].mean(axis=0) for c in range(classes)])
        models.append((means / np.linalg.norm(means, axis=1, keepdims=True), np.full(x.shape[1], 1 / x.shape[1])))
    q = count * ((1 - uniform) * text.mean(axis=0) + uniform / classes)

    def experts() -> list[np.ndarray]:
        return [
            *(
                softmax(np.array([[-((a - m) ** 2 / var).sum() / 100 for m in means] for a in x]))
                for x, (means, var) in zip(spaces, models, strict=True)
            ),
            text,
        ]

    weights = np.full(3, 1 / 3)
    for _ in range(iterations):
        voices = experts()
        fused = sum(w * voice for w, voice in zip(weights, voices, strict=True))
        kernel = np.exp((fused - fused.max(axis=1, keepdims=True)) / 0.01)
        u = 1 / kernel.sum(axis=1)
        for _ in range(15):
            v = q / (u @ kernel)
            u = 1 / (kernel @ v)
        z = u[:, None] * kernel * v
        agreement = np.array([(voice.argmax(axis=1) == z.argmax(axis=1)).mean() for voice in voices])
        weights = agreement / agreement.sum()
        for s, x in enumerate(spaces):
            means = z.T @ x / z.sum(axis=0)[:, None]
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            var = sum(z[i, c] * (x[i] - means[c]) ** 2 for i in range(count) for c in range(classes)) / count
            models[s] = (means, var)
    return z, sum(w * voice for w, voice in zip(weights, experts(), strict=True))


@pytest.mark.parametrize("uniform", [0.1, 1.0])
def test_it_is_its_equations_in_loops(uniform: float) -> None:
    made = blobs(60, noise=0.3, text_noise=0.3)
    inductive, transductive = answers(METHOD, made, iterations=3, uniform=uniform)
    plan, mean = slow_fusion(made, iterations=3, uniform=uniform)
    assert np.allclose(transductive, plan, atol=5e-3) and np.allclose(inductive, mean, atol=1e-3)


def test_the_paper_forces_balance_and_the_default_does_not() -> None:
    made = blobs(80, 4, occurring=2, noise=0.1, text_noise=0.1)
    forced, free = (answers(METHOD, made, uniform=uniform, sinkhorn_iterations=200)[1] for uniform in (1.0, 0.0))
    assert np.allclose(forced.sum(dim=0), 20, atol=0.5) and made.accuracy(forced) < 0.6
    assert free.sum(dim=0)[2:].max() < 5 and made.accuracy(free) == 1
