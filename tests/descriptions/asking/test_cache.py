"""The response cache only ever grows, and never by what it already has."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.descriptions import Responses
from nola_core.descriptions.asking.cache import SCHEMA
from nola_core.errors import NolaError

COLUMNS = ["class", "prompt", "text", "provider", "model"]


def rows_of(*texts: str) -> pd.DataFrame:
    return pd.DataFrame([("dog", "p", text, "hand", "") for text in texts], columns=COLUMNS)


def contents(folder: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in folder.iterdir()}


def test_an_empty_cache_reads_as_an_empty_table(tmp_path: Path) -> None:
    assert list(Responses(tmp_path / "responses").read().columns) == SCHEMA.names


def test_parts_are_appended_and_old_ones_never_touched(tmp_path: Path) -> None:
    responses = Responses(tmp_path / "responses")
    assert responses.add(rows_of("barks", "runs", "barks")) == 2
    first = contents(responses.folder)
    assert responses.add(rows_of("runs", "barks")) == 0 and contents(responses.folder) == first
    assert Responses(tmp_path / "responses").add(rows_of("barks", "sleeps")) == 1
    assert first.items() <= contents(responses.folder).items()

    table = responses.read()
    assert table["text"].tolist() == ["barks", "runs", "sleeps"] and table["key"].is_unique
    assert table["time"].is_monotonic_increasing and str(table["time"].dt.tz) == "UTC"
    for part in responses.folder.iterdir():
        assert pq.read_schema(part) == SCHEMA


def test_a_response_is_the_same_only_when_all_of_it_is(tmp_path: Path) -> None:
    responses = Responses(tmp_path)
    row = rows_of("barks")
    responses.add(row)
    for column in COLUMNS:
        assert responses.add(row.assign(**{column: "other"})) == 1
    assert responses.add(rows_of()) == 0 and len(responses.read()) == 6


def answer(number: int, **changes: object) -> dict[str, object]:
    """A row as a model's answer makes it."""
    row: dict[str, object] = dict.fromkeys(SCHEMA.names) | {
        "key": f"k{number}",
        "class": "dog",
        "prompt": "p",
        "text": f"t{number}\u2028ü",
    }
    return row | {"time": pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime(), "attempt": 1, "finish_reason": "stop"} | changes


def test_answers_are_there_before_they_are_a_part(tmp_path: Path) -> None:
    responses = Responses(tmp_path)
    with responses.recording() as recorder:
        recorder.record([answer(0), answer(1, finish_reason="refusal", cost=0.5)])
        assert len(responses.read()) == 2 and not list(tmp_path.glob("*.parquet"))
        recorder.record([answer(number) for number in range(2, 60)])
        assert len(responses.read()) == 60 and responses.journal.stat().st_size == 0
    known = responses.known()
    assert len(known.good) == 59 and dict(known.failures) == {"k1": ["refusal"]} and known.spent == 0.5
    assert responses.read()["text"][7] == "t7\u2028ü"


def test_what_a_kill_leaves_is_taken_once_and_whole(tmp_path: Path) -> None:
    responses = Responses(tmp_path)
    with responses.recording() as recorder:
        recorder.record([answer(0)])
        left = responses.journal.read_bytes()
    responses.journal.write_bytes(
        left + left.replace(b"k0", b"k1") + left.replace(b"k0", b"k2")[:-9]
    )  # after the part was written
    assert responses.read()["key"].tolist() == ["k1", "k0"] or responses.read()["key"].tolist() == ["k0", "k1"]
    with responses.recording() as recorder:
        recorder.record([answer(2)])
    assert sorted(responses.read()["key"]) == ["k0", "k1", "k2"] and not responses.journal.exists()
    responses.journal.write_bytes(b"{damaged}\n" + left)
    with pytest.raises(NolaError, match=r"journal.jsonl: line 1 is damaged"):
        responses.read()


def test_many_small_parts_become_one(tmp_path: Path) -> None:
    responses = Responses(tmp_path)
    responses.add(rows_of("first"))
    for number in range(20):
        with responses.recording() as recorder:
            recorder.record([answer(number)])
    before = responses.read()
    assert len(before) == 21 and len(list(tmp_path.glob("*.parquet"))) < 21
    responses.add(rows_of("last"))
    part = sorted(tmp_path.glob("*.parquet"))[0]
    shutil.copy(part, tmp_path / "000099-copied00.parquet")  # as a kill halfway leaves it
    assert responses.read()["text"].tolist() == [*before["text"], "last"] and before["text"][0] == "first"


def test_parts_of_an_older_version_and_damaged_ones(tmp_path: Path) -> None:
    old = rows_of("barks").assign(key="k", time=pd.Timestamp("2025-01-01", tz="UTC"))
    old.to_parquet(tmp_path / "000000-abcdef01.parquet")
    assert Responses(tmp_path).read().iloc[0][["key", "text"]].tolist() == ["k", "barks"] and not Responses(tmp_path).known().good
    (tmp_path / "000001-abcdef02.parquet").write_bytes(b"no parquet")
    with pytest.raises(NolaError, match=r"000001-abcdef02.parquet cannot be read"):
        Responses(tmp_path).read()


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=4), max_size=4))
@settings(max_examples=20, deadline=None)
def test_the_cache_holds_each_answer_once_in_the_order_it_came(batches: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        responses = Responses(Path(folder))
        added = sum(responses.add(rows_of(*batch)) for batch in batches)
        flat = list(dict.fromkeys(text for batch in batches for text in batch))
        assert responses.read()["text"].tolist() == flat and added == len(flat)
