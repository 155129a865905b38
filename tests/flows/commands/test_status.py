"""`nola status`: the lines and the JSON. The reasons are tested in tests/flows/test_changes.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.commands.status import duration
from flows.locking import run_lock
from nola_core.durations import record
from tests.flows.commands.conftest import Nola


def test_what_will_run_in_lines_and_in_json(make_repo: Callable[..., Path], nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repo(pets="", birds="")
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    record(root, "tune@pets", 100)
    record(root, "report@pets", 20)
    lines = nola("status", "pets")[0].splitlines()
    assert lines[0] == "pets: 7 of 7 stages will run; at most about 2 min by their last runs, and 5 of unknown length"
    assert lines[1:3] == ["  prepare     it has not run yet", "  embed clip  it has not run yet"] and len(lines) == 8
    told = json.loads(nola("status", "--json")[0])
    assert list(told["datasets"]) == ["pets", "birds"] and told["running"] is None
    pets = told["datasets"]["pets"]
    assert (pets["stages"], pets["up_to_date"], pets["seconds"]) == (7, False, None), "one that is not known is no sum"
    tune = {"stage": "tune@pets", "certain": True, "reasons": ["it has not run yet"], "seconds": 100.0}
    assert tune in pets["pending"]
    assert "there is no data set 'pts'; there are: pets, birds." in nola("status", "pts", status=1)[1]
    with run_lock(root, print):
        assert "is at work; what it has finished by now counts as up to date" in nola("status", "pets")[1]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")])
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
