"""Files are complete or absent, and what is wrong with one is a sentence."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nola_core.errors import NolaError
from nola_core.files import (
    digest,
    read_json,
    read_note,
    read_table,
    replacing,
    sha256_file,
    table_writer,
    write_json,
    write_table,
)

SCHEMA = pa.schema([("name", pa.string()), ("count", pa.int32())])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_replacing_a_file_shows_the_new_one_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with replacing(path) as scratch:
        scratch.write_text("one")
        assert not path.exists() and scratch.parent == path.parent
    with replacing(path) as scratch:
        scratch.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two" and names(path.parent) == ["file.txt"]


def test_replacing_a_folder_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for name in ("old", "new"):
        with replacing(path) as scratch:
            scratch.mkdir()
            (scratch / name).write_text(name)
    assert names(path) == ["new"] and names(tmp_path) == ["store"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_replacing_leaves_everything_as_it_was_on_an_exception(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
        (path / "content").write_text("old")
    else:
        path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), replacing(path) as scratch:
        if kind == "folder":
            scratch.mkdir()
            (scratch / "content").write_text("half")
        else:
            scratch.write_text("half")
        raise RuntimeError("halfway")
    assert names(tmp_path) == ["thing"]
    assert (path / "content" if kind == "folder" else path).read_text() == "old"


def test_a_body_that_wrote_nothing_does_not_cost_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "content").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "store"):
        pass
    assert names(tmp_path) == ["store"] and names(tmp_path / "store") == ["content"]


def test_a_table_has_the_schemas_columns_and_types_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, pd.DataFrame({"extra": [1.5], "count": [2], "name": ["a"]}), SCHEMA)
    assert pa.parquet.read_schema(path) == SCHEMA
    assert read_table(path).to_dict("records") == [{"name": "a", "count": 2}]
    assert list(read_table(path, ["count"]).columns) == ["count"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"name": ["a"]}, "lacks the columns count"),
        ({"name": ["a"], "count": ["many"]}, "does not fit its type"),
        ({"name": ["a"], "count": [1.5]}, "does not fit its type"),
        ({"name": ["a"], "count": [2**40]}, "does not fit its type"),
        ({"name": [1], "count": [1]}, "does not fit its type"),
    ],
)
def test_a_table_that_does_not_fit_its_schema_is_not_written(tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NolaError, match=sentence):
        write_table(tmp_path / "table.parquet", pd.DataFrame(columns), SCHEMA)
    assert names(tmp_path) == []


def test_a_table_written_in_parts_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    part = pa.table({"name": ["a"], "count": pa.array([1], pa.int64())})
    with pytest.raises(RuntimeError), table_writer(path, SCHEMA) as write:
        write(part)
        raise RuntimeError
    assert names(tmp_path) == []
    with table_writer(path, SCHEMA) as write:
        write(part)
        write(part)
    assert len(read_table(path)) == 2


def test_reading_errors_say_what_to_do(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", pd.DataFrame({"name": ["a"], "count": [1]}), SCHEMA)
    with pytest.raises(NolaError, match=r"absent.parquet does not exist: run the stage"):
        read_table(tmp_path / "absent.parquet")
    with pytest.raises(NolaError, match=r"table.parquet cannot be read .*nope.*run its stage again"):
        read_table(tmp_path / "table.parquet", ["name", "nope"])
    data = (tmp_path / "table.parquet").read_bytes()
    (tmp_path / "table.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(NolaError, match=r"table.parquet cannot be read .*run its stage again"):
        read_table(tmp_path / "table.parquet")

    with pytest.raises(NolaError, match=r"absent.json does not exist"):
        read_json(tmp_path / "absent.json")
    for bad in (b'{"a": ', b"\xff\xfe{}"):
        (tmp_path / "bad.json").write_bytes(bad)
        with pytest.raises(NolaError, match=re.escape("bad.json is no JSON")):
            read_json(tmp_path / "bad.json")


def test_json_round_trips_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    value = {"b": [1, 2.5, None], "a": "schön"}
    write_json(path, value)
    assert read_json(path) == value and list(read_json(path)) == ["b", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": np.nan})
    assert read_json(path) == value and names(tmp_path) == ["value.json"]


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 1000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_a_table_carries_a_note_or_none(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a"], "count": [1]})
    write_table(tmp_path / "plain.parquet", frame, SCHEMA)
    write_table(tmp_path / "noted.parquet", frame, SCHEMA, note="97.5 % of the pairs – about")
    assert read_note(tmp_path / "plain.parquet") == ""
    assert read_note(tmp_path / "noted.parquet") == "97.5 % of the pairs – about"
    assert read_table(tmp_path / "noted.parquet").equals(read_table(tmp_path / "plain.parquet"))
