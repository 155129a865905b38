"""What a wrong key or value of a YAML section is answered with, over sections made by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from nola_core.errors import NolaError
from nola_core.schema import Positive, Rate, Section, validate


class Inner(Section):
    epochs: Positive
    rate: Rate = 0.1


class Outer(Section):
    inner: Inner = Inner(epochs=1)
    named: dict[str, Inner] = {}  # noqa: RUF012  (pydantic copies it)
    empty: Section = Section()


def test_a_sound_section_is_typed_frozen_and_has_defaults() -> None:
    section = validate(Outer, {"named": {"a": {"epochs": 2}}}, source="file")
    assert (section.inner.epochs, section.named["a"].rate) == (1, 0.1)
    with pytest.raises(ValidationError, match="frozen"):
        section.inner.epochs = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"inner": {}}, "key 'inner.epochs' is missing."),
        ({"inner": {"epochs": 1, "epoch": 1}}, "unknown key 'inner.epoch': did you mean 'epochs'?"),
        ({"inner": {"epochs": 1, "x": 1}}, "unknown key 'inner.x': allowed are epochs, rate."),
        ({"named": {"a": {"epochs": 1, "x": 1}}}, "unknown key 'named.a.x': allowed are epochs, rate."),
        ({"empty": {"x": 1}}, "unknown key 'empty.x': empty takes no keys."),
        ({"inner": {"epochs": "3"}}, "inner.epochs = '3' is text to YAML, not a number; write 3."),
        ({"inner": {"epochs": 1, "rate": "1e-2"}}, "inner.rate = '1e-2' is text to YAML, not a number; write 0.01."),
        ({"inner": {"epochs": True}}, "inner.epochs = True: must be a valid integer."),
        (
            {"inner": {"epochs": 0, "rate": 1}},
            "inner.epochs = 0: must be greater than or equal to 1; inner.rate = 1: must be less",
        ),
        ({"inner": 3}, "'inner' must hold `key: value` lines; found 3."),
        ([], "the entry must hold `key: value` lines; found []."),
    ],
)
def test_what_is_wrong_is_one_sentence(values: Any, sentence: str) -> None:
    with pytest.raises(NolaError, match=re.escape(f"file: {sentence}")):
        validate(Outer, values, source="file")
