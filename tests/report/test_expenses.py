"""Times and cost, and that what is not known is called so."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nola_core.descriptions import Responses
from nola_core.errors import NolaError
from nola_core.report.expenses import cost, spoken, times, total


def test_a_stage_that_was_not_timed_says_so() -> None:
    found = times({"embed@pets-clip": 3725.0, "embed@other-ssl": 5.0, "report@pets": 8.0}, "pets")
    assert [one.stage for one in found][:4] == ["prepare", "describe", "embed clip", "embed ssl"]
    assert {one.stage: one.took for one in found if one.took != "not recorded"} == {"embed clip": "1 h 2 min"}
    assert total(found) == "1 h 2 min" and total(times({}, "pets")) == ""
    assert (spoken(59.96), spoken(185)) == ("60.0 s", "3 min 5 s")


def test_what_a_language_model_cost(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match="run the stage describe"):
        cost(tmp_path)
    responses = Responses(tmp_path / "responses")
    given = {"class": "cat", "prompt": "?", "provider": "hand-written", "model": "", "text": "soft"}
    responses.add(pd.DataFrame([given]))
    assert cost(tmp_path) == "No language model was asked."
    asked = {**given, "provider": "llm", "model": "<b>", "time": pd.Timestamp("2026-11-29", tz="UTC"), "tokens_in": 1000}
    rows = [
        {**asked, "key": str(number), "attempt": 1, "tokens_out": 50, "cost": price}
        for number, price in enumerate([0.25, 0.5, None])
    ]
    responses.write_part(rows)
    assert cost(tmp_path) == (
        "A language model (<b>) gave 3 answers: 3,000 tokens in, 150 out; 0.75 dollars, without 1 answers of unknown price."
    )
