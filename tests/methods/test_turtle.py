from pathlib import Path

import pytest
import torch
from torch import Tensor

from nola_core.errors import NolaError
from nola_core.methods.turtle import METHOD, Options
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made, permuted

FEW = Options(steps=60)


def accuracy(p: Tensor, truth: Tensor) -> float:
    return float((p.argmax(dim=1) == truth).float().mean())


def test_it_separates_clusters_that_the_names_confuse() -> None:
    collection, truth = made([60] * 5, spread=0.1, confusion=0.9, scale=20.0, seed=3)
    asked = features(collection)
    found = METHOD.fit(collection, options=Options(steps=100, learning_rate=0.01), seed=0)
    assert accuracy(found.predict(asked), truth) > 0.98 > 0.94 > accuracy(collection.text.predict(asked), truth)


def test_estimated_proportions_bear_classes_that_are_missing_and_uniform_ones_do_not() -> None:
    collection, truth = made([80, 0, 60, 0, 40, 0], spread=0.1, scale=20.0, seed=1)
    asked = features(collection)
    ours, uniform = (
        METHOD.fit(collection, options=Options(steps=100, learning_rate=0.01, balance=balance), seed=0).predict(asked)
        for balance in ("estimated", "uniform")
    )
    assert accuracy(ours, truth) >= accuracy(collection.text.predict(asked), truth)
    assert accuracy(uniform, truth) < accuracy(ours, truth) - 0.1


def test_clips_head_starts_at_the_text_classifier() -> None:
    collection, _ = made([6, 5, 4])
    asked = features(collection)
    still = Options(spaces=["clip"], steps=1, learning_rate=1e-9)
    found = METHOD.fit(collection, options=still, seed=0)
    torch.testing.assert_close(found.predict(asked), collection.text.predict(asked), atol=1e-5, rtol=0)
    assert found.spaces == ("clip",)


def test_a_strong_anchor_holds_it_there() -> None:
    collection, _ = made([30, 30, 30], spread=0.15, scale=20.0)
    asked = features(collection)
    given = collection.text.predict(asked)
    moved = [
        (METHOD.fit(collection, options=FEW.model_copy(update={"anchor": anchor}), seed=0).predict(asked) - given).abs().mean()
        for anchor in (0.0, 100.0)
    ]
    assert moved[1] < moved[0]


def test_permuted_classes_permute_the_answers() -> None:
    collection, _ = made([24, 0, 27, 23], spread=0.15, scale=20.0)
    asked, order = features(collection), torch.tensor([2, 0, 3, 1])
    p = METHOD.fit(collection, options=FEW, seed=0).predict(asked)
    other = METHOD.fit(permuted(collection, order), options=FEW, seed=0).predict(asked)
    torch.testing.assert_close(other, p[:, order], atol=0.01, rtol=0)


def test_the_seed_decides_alone() -> None:
    collection, _ = made([30, 20, 10])
    one, again, other = (
        METHOD.fit(collection, options=Options(steps=5, batch_size=16), seed=seed).tensors() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["ssl.weights"], other["ssl.weights"])


@pytest.mark.parametrize("extra", [{}, {"balance": "power_law", "sparse": True}, {"balance": "uniform", "spaces": ["ssl"]}])
def test_any_number_of_names_and_images(extra: dict[str, object], tmp_path: Path) -> None:
    options = Options.model_validate({"steps": 4, "warm_steps": 2, **extra})
    survives(METHOD, options)
    collection, _ = made([6, 5, 4])
    is_restored(METHOD, METHOD.fit(collection, options=options, seed=0), features(collection), tmp_path)


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(NolaError, match="space 'dino'"):
        METHOD.fit(made([3, 3])[0], options=Options(spaces=["dino"]), seed=0)
