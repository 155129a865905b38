"""Articles go by sound, not by spelling; plurals take none."""

import pytest

from nola_core.grammar import article, is_plural, singular

AN = ["hour", "heirloom rose", "honest man", "umbrella", "emu", "okapi", "onion", "urchin", "uninformed man", "unusual chair",
      "MRI", "F-16", "HDTV", "SUV", "X-ray", "x-ray", "A320", "8-ball", "11", "18th century chair", "1800 coin", "Uber",
      "Audi TT Hatchback 2011", "AM General Hummer SUV 2000"]  # fmt: skip
A = ["unicorn", "European", "uniform", "unit", "ukulele", "user", "ewer", "euphonium", "one-way street", "horse", "UFO", "U-boat",
     "NASA rover", "747-400", "110", "dog", "BMW 3 Series Sedan 2012", "bus", "platypus", "cross", "lens", "bottle of pills",
     "lotus", "gas mask", "canvas", "yacht"]  # fmt: skip
NONE = ["scissors", "jeans", "water lilies", "binoculars", "cars", "American bulldogs", "fish and chips", "pairs of shoes",
        "men", "the digit seven", "an apple"]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [*((n, "an") for n in AN), *((n, "a") for n in A), *((n, "") for n in NONE)])
def test_articles(name: str, expected: str) -> None:
    assert article(name) == expected


def test_number_is_the_heads() -> None:
    assert is_plural("leaves in a bowl") and not is_plural("bowl of leaves") and not is_plural("")


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("lilies", "lily"),
        ("boxes", "box"),
        ("dogs", "dog"),
        ("crosses", "cross"),
        ("watches", "watch"),
        ("bus", "bus"),
        ("gas", "gas"),
    ],
)
def test_singulars(many: str, one: str) -> None:
    assert singular(many) == one
