from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from nola_core.methods.collection import Space
from nola_core.students import text_only

SETTING: dict[str, Any] = {"noise": 0.1, "smoothing": 0.1, "steps": 80, "learning_rate": 0.02, "seed": 3}


def texts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ten texts a class around four centres, and the centres."""
    generator = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(4, 16, generator=generator), dim=1)
    classes = torch.arange(40) % 4
    return normalize(centres[classes] + 0.05 * torch.randn(40, 16, generator=generator), dim=1), classes, centres


def test_it_separates_made_texts_and_images_near_them() -> None:
    features, classes, centres = texts()
    weights = text_only.train(features, classes, 4, **SETTING)
    assert weights.shape == (4, 16) and not weights.requires_grad
    assert torch.equal((features @ weights.T).argmax(dim=1), classes)
    images = Space((3 * centres.repeat(5, 1)).half().numpy())  # of any length
    assert torch.equal(text_only.answers(images, weights), torch.arange(20) % 4)


def test_a_seed_decides_the_bits() -> None:
    features, classes, _ = texts()
    one, two = (text_only.train(features, classes, 4, **SETTING) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, text_only.train(features, classes, 4, **SETTING | {"seed": 4}))


def test_the_first_step_is_the_gradient_of_the_smoothed_loss_written_out() -> None:
    features, classes, _ = texts()
    still = SETTING | {"noise": 0.0, "learning_rate": 1e-12, "steps": 1}
    start = text_only.train(features, classes, 4, **still).double().numpy()
    stepped = text_only.train(features, classes, 4, **still | {"learning_rate": 1e-3}).double().numpy()
    gradient = np.zeros_like(start)
    for x, own in zip(features.double().numpy(), classes.tolist(), strict=True):
        p = np.exp(start @ x) / np.exp(start @ x).sum()
        target = np.full(4, 0.1 / 4) + 0.9 * (np.arange(4) == own)
        gradient += np.outer(p - target, x) / len(features)
    sure = np.abs(gradient) > 1e-5  # the first step of AdamW is the sign of the gradient
    np.testing.assert_allclose((start - stepped)[sure], 1e-3 * np.sign(gradient)[sure], rtol=2e-3)


def test_more_texts_than_a_step_takes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    features, classes, _ = texts()
    monkeypatch.setattr(text_only, "BATCH", 8)
    weights = text_only.train(features, classes, 4, **SETTING)
    assert torch.equal((features @ weights.T).argmax(dim=1), classes)


def test_answers_of_blocks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, weights = Space(rng.normal(size=(11, 16)).astype(np.float16)), torch.randn(4, 16)
    whole = text_only.answers(images, weights)
    monkeypatch.setattr(text_only, "BLOCK", 4)
    assert torch.equal(text_only.answers(images, weights), whole)
