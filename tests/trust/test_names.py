"""Names against nouns: made images in which the right answer is known, and the sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.trust import names as trust
from nola_core.trust.words import NOUNS


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made(seed: int, *, classes: int = 6, each: int = 40, dim: int = 64, nouns: int = 100) -> tuple[np.ndarray, ...]:
    """Images around class directions; the directions as names; nouns at random; text and images lie apart, as CLIP's do."""
    rng = np.random.default_rng(seed)
    centers = unit(rng.standard_normal((classes, dim)))
    gap = 2 * unit(rng.standard_normal((1, dim)))
    images = unit(np.repeat(centers, each, axis=0) + 0.08 * rng.standard_normal((classes * each, dim)) + gap)
    names = unit(centers + 0.1 * rng.standard_normal((classes, dim)) - gap)
    return images, names, unit(unit(rng.standard_normal((nouns, dim))) - gap)


@pytest.mark.parametrize("seed", range(3))
def test_names_that_fit_win_and_names_like_the_nouns_do_as_well_as_they(seed: int) -> None:
    images, names, nouns = made(seed)
    found = trust.measured(images, names, nouns)
    assert found["wins"] > 0.95 and min(found["ranks"]) > 0.95 and found["images"] == 240
    blank = np.mean([trust.measured(images, nouns[6 * n : 6 * n + 6], nouns[60:])["wins"] for n in range(10)])
    assert 0.35 < blank < 0.65
    other = trust.measured(images, names[[1, 2, 3, 4, 5, 0]], nouns)
    assert other["wins"] == found["wins"]  # names of other classes of the collection: nothing here can see that


def test_one_bad_name_among_good_ones() -> None:
    images, names, nouns = made(0)
    names[2] = nouns[-1]
    ranks = trust.measured(images, names, nouns[:-1])["ranks"]
    assert int(np.argmin(ranks)) == 2 and min(ranks[:2] + ranks[3:]) > 0.95


def test_a_text_near_to_every_image_wins_nothing_by_that() -> None:
    images, names, nouns = made(1)
    hub = unit(nouns + 5 * images.mean(axis=0))
    assert ((images @ names.T).max(axis=1) > (images @ hub.T).max(axis=1)).mean() == 0
    assert trust.measured(images, names, hub)["wins"] > 0.95


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 40))
def test_more_names_than_nouns_and_few_images(seed: int, classes: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    x, names, nouns = (unit(rng.standard_normal((count, 8))) for count in (images, classes, 12))
    found = trust.measured(x, names, nouns)
    assert 0 <= found["wins"] <= 1 and len(found["ranks"]) == classes
    order = rng.permutation(images)
    again = trust.measured(x[order], names, nouns)
    assert again["wins"] == pytest.approx(found["wins"], abs=0.05) and again["ranks"] == pytest.approx(found["ranks"], abs=0.1)


def test_with_more_names_than_nouns_half_is_still_chance() -> None:
    rng = np.random.default_rng(0)
    x, names, nouns = (unit(rng.standard_normal((count, 32))) for count in (2000, 90, 10))
    assert trust.measured(x, names, nouns)["wins"] == pytest.approx(0.5, abs=0.06)


def test_the_images_drawn_are_the_same_each_time() -> None:
    assert trust.drawn(5).tolist() == [0, 1, 2, 3, 4]
    some = trust.drawn(trust.IMAGES + 10)
    assert len(set(some)) == trust.IMAGES and (some == trust.drawn(trust.IMAGES + 10)).all() and (np.diff(some) > 0).all()


def told(wins: float, *, images: int = 100, described: bool = False, ranks: tuple[float, ...] = (0.9, 0.2)) -> dict[str, Any]:
    found = {"wins": wins, "images": images, "ranks": list(ranks)}
    return trust.record(found, [f"n{row}" for row in range(len(ranks))], described=described)


def test_the_sentences_name_what_is_weak_and_what_helps() -> None:
    said = trust.verdict(told(0.47))
    assert said is not None and "47 % of the images" in said and "Least of all: n1." in said and "in English" in said
    assert "The descriptions have to carry" in (trust.verdict(told(0.47, described=True)) or "")
    assert trust.verdict(told(0.9)) is None and trust.verdict(told(0.2, images=9)) is None
    many = trust.verdict(told(0.3, ranks=(0.1,) * 12 + (0.9,))) or ""
    assert "n7 and 4 more." in many


def test_the_nouns_are_many_and_different() -> None:
    assert len(NOUNS) > 200 and len(set(NOUNS)) == len(NOUNS) and all(noun.isalpha() for noun in NOUNS)
