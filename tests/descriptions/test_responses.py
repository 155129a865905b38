"""The response cache only ever grows, and never by what it already has."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.descriptions import Responses
from nola_core.descriptions.responses import SCHEMA

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


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=4), max_size=4))
@settings(max_examples=20, deadline=None)
def test_the_cache_holds_each_answer_once_in_the_order_it_came(batches: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        responses = Responses(Path(folder))
        added = sum(responses.add(rows_of(*batch)) for batch in batches)
        flat = list(dict.fromkeys(text for batch in batches for text in batch))
        assert responses.read()["text"].tolist() == flat and added == len(flat)
