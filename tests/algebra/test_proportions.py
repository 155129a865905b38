"""Class proportions and biases where the right ones are known, and the temperature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nola_core.algebra import proportions, temperature
from nola_core.algebra.proportions import Biases


def shifted(wanted: Tensor, count: int = 4000) -> Tensor:
    """Posteriors that are calibrated for equal proportions, of images drawn with the wanted ones."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.multinomial(wanted, count, replacement=True, generator=draw)
    centres = 2 * torch.eye(len(wanted))
    x = centres[labels] + torch.randn(count, len(wanted), generator=draw)
    return (x @ centres.T).softmax(dim=1)


def test_em_finds_the_proportions_that_the_posteriors_do_not_know() -> None:
    wanted = torch.tensor([0.7, 0.2, 0.1, 0.0])
    p = shifted(wanted)
    found = proportions.estimated(p, pull=0)
    assert (found - wanted).abs().max() < 0.03 < (p.mean(dim=0) - wanted).abs().max()
    pulled = proportions.estimated(p, pull=0.02)
    assert pulled.min() >= 0.005 - 1e-6 and float(pulled.sum()) == pytest.approx(1, abs=1e-5)


def test_em_is_the_loop_and_stands_still_at_its_base() -> None:
    p = shifted(torch.tensor([0.5, 0.3, 0.2]), 200)
    base, pi = torch.tensor([0.2, 0.3, 0.5]), torch.full((3,), 1 / 3)
    for _ in range(5):
        r = torch.stack([row * pi / base / (row * pi / base).sum() for row in p])
        pi = 0.9 * r.mean(dim=0) + 0.1 / 3
    assert torch.allclose(proportions.estimated(p, base=base, pull=0.1, iterations=5, tolerance=0), pi, atol=1e-5)
    assert torch.allclose(proportions.estimated(torch.full((9, 4), 0.25), base=torch.full((4,), 0.25)), torch.full((4,), 0.25))


def test_biases_give_the_proportions_wanted() -> None:
    logits = 5 * torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
    logits[:, 3] -= 500  # a class that nobody predicts gets its share too
    wanted = torch.tensor([0.5, 0.3, 0.19, 0.01])
    biases = Biases(logits).find(wanted, iterations=2000, tolerance=1e-5)
    got = (torch.maximum(logits, logits.amax(dim=1, keepdim=True) + proportions.FLOOR) + biases).softmax(dim=1).mean(dim=0)
    assert torch.allclose(got, wanted, atol=1e-4) and abs(float(biases.mean())) < 1e-5


def test_biases_are_none_where_the_proportions_are_right_already() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Biases(logits).find(logits.softmax(dim=1).mean(dim=0)), torch.zeros(3))


@pytest.mark.parametrize("true", [0.2, 1.0, 7.0])
def test_the_temperature_of_a_confidence(true: float) -> None:
    logits = 3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(2))
    confidence = float((logits / true).softmax(dim=1).amax(dim=1).mean())
    assert temperature.for_confidence(logits, confidence) == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize(("confidence", "end"), [(1.0, temperature.LOWEST), (0.0, temperature.HIGHEST)])
def test_no_temperature_gives_an_impossible_confidence(confidence: float, end: float) -> None:
    assert temperature.for_confidence(torch.tensor([[1.0, 1.0, 0.0]]), confidence) == pytest.approx(end, rel=0.01)
