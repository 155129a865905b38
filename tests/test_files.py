"""Files are complete or absent, and errors are clear messages."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from nola_core.errors import NolaError
from nola_core.files import (
    digest,
    read_json,
    read_note,
    read_table,
    replacing,
    sha256_file,
    sweep,
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
        assert not path.exists() and path.parent in scratch.parents, "what is on another file system cannot be renamed"
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


def write_folder(path: Path, content: str) -> None:
    with replacing(path) as scratch:
        scratch.mkdir()
        for name in ("one", "two"):
            (scratch / name).write_text(content)


def complete(path: Path) -> str:
    """The content of both files of a folder, which must be equal."""
    assert names(path) == ["one", "two"]
    first, second = ((path / name).read_text() for name in names(path))
    assert first == second
    return first


STEPS = ["rename", "replace", "rmtree"]  # of the old folder away, of the new one into its place, of what is left


def interrupted(call: Callable[..., Any], when: str) -> Callable[..., Any]:
    """`call`, with an interrupt just before or just after it takes effect."""

    def broken(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            call(*arguments, **options)
        raise KeyboardInterrupt

    return broken


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_interrupt_at_any_step_leaves_the_old_or_the_new_folder(tmp_path: Path, step: str, when: str) -> None:
    path = tmp_path / "store"
    write_folder(path, "old")
    owner = shutil if step == "rmtree" else Path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, interrupted(getattr(owner, step), when))
        with pytest.raises(KeyboardInterrupt):
            write_folder(path, "new")
    sweep(tmp_path)  # finds nothing, or a folder of a running process
    assert complete(path if path.exists() else next(tmp_path.glob(".store.*/old"))) in ("old", "new")


def forever(path: Path) -> None:
    for number in range(10**9):
        write_folder(path, str(number))


def test_a_kill_at_any_moment_leaves_a_complete_folder(tmp_path: Path) -> None:
    """SIGKILL during repeated replacements, each followed by the cleanup at the start of a stage."""
    path, draw = tmp_path / "store", random.Random(3)
    write_folder(path, "0")
    for _ in range(25):
        child = multiprocessing.get_context("fork").Process(target=forever, args=(path,))
        child.start()
        time.sleep(0.01 + 0.02 * draw.random())
        child.kill()
        child.join()
        sweep(tmp_path)
        assert complete(path).isdecimal() and names(tmp_path) == ["store"]


def dead_writers(target: Path) -> Path:
    """The scratch folder of a process that was killed while it wrote `target`."""

    def die() -> None:
        with replacing(target) as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    (left,) = target.parent.glob(f".{target.name}.*")
    return left


def test_what_a_killed_writer_left_is_swept_and_a_living_writers_is_not(tmp_path: Path) -> None:
    left = dead_writers(tmp_path / "deep" / "file")
    with replacing(tmp_path / "deep" / "mine") as mine:
        mine.write_text("half")
        sweep(tmp_path, tmp_path / "absent")
        assert not left.exists() and mine.read_text() == "half"
    for stranger in (".file.partial", ".file.12345678.partial", "file.old"):
        (tmp_path / stranger).mkdir()
    sweep(tmp_path)
    assert len(names(tmp_path)) == 4, "what we did not make is nobody's leftover"


def test_a_reused_process_id_is_no_living_writer(tmp_path: Path) -> None:
    left = dead_writers(tmp_path / "file")
    reused = re.sub(r"-\d+-", f"-{os.getpid()}-", left.name, count=1)  # this process has the id, but a different start time
    assert reused != left.name
    left.rename(tmp_path / reused)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_another_machines_scratch_is_left_until_nothing_happened_in_it_for_a_day(tmp_path: Path) -> None:
    left = dead_writers(tmp_path / "file")
    other = left.rename(tmp_path / re.sub(r"^(\.file\.)[0-9a-f]{8}", r"\g<1>00000000", left.name))
    sweep(tmp_path)
    assert (other / "new").read_text() == "half"
    for path in (other / "new", other):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_an_old_folder_whose_target_is_missing_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = dead_writers(tmp_path / "store")
    write_folder(left / "old", "old")
    sweep(tmp_path)
    assert names(tmp_path) == ["store"] and complete(tmp_path / "store") == "old"
    assert "store: a run was killed while replacing it" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["text", "table", "tensors"])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, kind: str) -> None:
    """A limit on the file size stands for a full disk: both errors come from `write`, in every library."""
    path, numbers = tmp_path / "file", np.random.default_rng(0).normal(size=5000)
    write = {
        "text": lambda scratch: scratch.write_text("x" * 5000),
        "table": lambda scratch: pa.parquet.write_table(pa.table({"x": numbers}), scratch),
        "tensors": lambda scratch: save_file({"x": numbers}, scratch),
    }[kind]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught, replacing(path) as scratch:
            write(scratch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path) and names(tmp_path) == []


def test_a_table_has_the_schemas_columns_and_types_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, pd.DataFrame({"extra": [1.5], "count": [2], "name": ["a"]}), SCHEMA)
    assert pa.parquet.read_schema(path) == SCHEMA
    assert read_table(path).to_dict("records") == [{"name": "a", "count": 2}]
    assert list(read_table(path, ["count"]).columns) == ["count"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"name": ["a"]}, "has no columns count"),
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
        with pytest.raises(NolaError, match=re.escape("bad.json is not valid JSON")):
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
