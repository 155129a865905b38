"""Tables and Hugging Face data sets: every row once, with its bytes, split and label."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nola_core.datasets.readers import Reader, columns
from nola_core.datasets.readers.huggingface import open_huggingface
from nola_core.datasets.readers.table import single_table
from nola_core.errors import NolaError
from tests.datasets.sources import image_table, png, read, save_to_disk, write_parquet


def write_csv(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def listed(reader: Reader) -> list[tuple[str, str | None, str | None]]:
    return [(entry.image_id, entry.split, entry.label) for entry in reader.scan()]


def test_a_csv_of_paths_beside_its_images(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    for number, name in enumerate(("a.png", "ü b.png")):
        (tmp_path / "pics" / name).write_bytes(png(number))
    rows = [["File", "label", "Split"], ["pics/a.png", "1", "training"], ["pics/ü b.png", "", "Test"], ["", "2", "train"]]
    table = write_csv(tmp_path / "list.csv", rows)
    for reader in (single_table(table, None), single_table(tmp_path, "list.csv")):
        found = list(reader.scan())
        assert listed(reader) == [("pics/a.png", "train", "1"), ("pics/ü b.png", "test", None), ("list#000002", "train", "2")]
        assert [entry.problem for entry in found] == ["", "", "row 3 of list.csv has no path"]
        assert [read(reader, entry) for entry in found[:2]] == [png(0), png(1)]
        assert reader.class_names() == ["1", "2"]


def test_a_parquet_of_bytes_is_read_by_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = len(png(0)) * 3
    monkeypatch.setattr(columns, "CACHE_BYTES", 2 * kept)
    table = pa.table({"id": range(10), "image": [png(row) for row in range(9)] + [None], "class": ["x", "y"] * 5})
    reader = single_table(write_parquet(tmp_path / "t.parquet", table), None)
    found = list(reader.scan())
    assert listed(reader)[:2] == [("000000", None, "x"), ("000001", None, "y")] and len(found) == 10
    for row in (8, 0, 5, 1, 7, 3):
        assert read(reader, found[row]) == png(row)
    opened = reader._opened["t.parquet"]
    assert isinstance(opened, columns.ParquetFile) and len(opened._cache) <= 2
    with pytest.raises(OSError, match="the row has no image"):
        read(reader, found[9])
    with pytest.raises(OSError, match="it has 10 rows now, none numbered 10"):
        reader.read(path="", shard="t.parquet", row=10)


def test_splits_are_renamed_or_left_out_as_asked(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", [["path", "fold"], ["a.png", "1"], ["b.png", "2"], ["c.png", "3"]])
    with pytest.raises(NolaError, match=r"t.csv: the split '1' is none of train, .*for example {1: train}"):
        list(single_table(table, None).scan())
    reader = single_table(table, None, splits={"1": "train", "3": "test"})
    assert [(entry.image_id, entry.split) for entry in reader.scan()] == [("a.png", "train"), ("c.png", "test")]


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        ({"x": ["a"]}, {}, "cannot tell which of the columns x contains the images or paths; set images.image_column"),
        ({"x": ["a"]}, {"image_column": "y"}, "has no column 'y' (images.image_column); it has x"),
        ({"path": [1]}, {}, "column 'path' contains int64; images must be bytes, a struct of bytes and path, or paths as text"),
        ({"path": ["a"]}, {"label_column": "kind"}, "has no column 'kind' (images.label_column)"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence(
    tmp_path: Path, table: dict[str, Any], options: dict[str, str], sentence: str
) -> None:
    path = write_parquet(tmp_path / "t.parquet", pa.table(table))
    with pytest.raises(NolaError) as caught:
        single_table(path, None, **options)
    assert sentence in str(caught.value)


def test_damaged_absent_and_foreign_tables_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "bad.csv").write_text("path,label\na.png,x\nb.png\n")
    with pytest.raises(NolaError, match=r"the table .*bad.parquet cannot be read"):
        single_table(tmp_path / "bad.parquet", None)
    with pytest.raises(NolaError, match=r"the table .*bad.csv cannot be read .*Expected 2 columns, got 1"):
        list(single_table(tmp_path / "bad.csv", None).scan())
    with pytest.raises(NolaError, match=r"gone.csv does not exist"):
        single_table(tmp_path / "gone.csv", None)
    with pytest.raises(NolaError, match=r"is a folder; set images.table"):
        single_table(tmp_path, None)
    with pytest.raises(NolaError, match=r"must be a .csv, .tsv, .parquet or .arrow file"):
        single_table(tmp_path / "t.xlsx", None)


NAMES = ["cat", "dog"]


def test_a_saved_dictionary_of_data_sets(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "train", image_table(3), image_table(2, first=3), names=NAMES)
    save_to_disk(tmp_path / "validation", image_table(2, first=10), names=NAMES)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    reader = open_huggingface(tmp_path)
    found = list(reader.scan())
    assert [entry.split for entry in found] == ["train"] * 5 + ["val"] * 2
    assert [entry.label for entry in found[:3]] == ["cat", "dog", "cat"] and reader.class_names() == NAMES
    assert found[4].image_id == "train/data-00001-of-00002/000001"
    assert [read(reader, entry) for entry in found] == [png(number) for number in (0, 1, 2, 3, 4, 10, 11)]
    only = open_huggingface(tmp_path, splits={"validation": "train"})
    assert [entry.split for entry in only.scan()] == ["train", "train"]


def test_a_single_saved_data_set_has_no_split(tmp_path: Path) -> None:
    table = image_table(4)
    hidden = table.set_column(1, "label", pa.array([0, -1, None, 1], pa.int64()))
    reader = open_huggingface(save_to_disk(tmp_path / "saved", hidden, split="train", names=NAMES))
    assert [(entry.split, entry.label) for entry in reader.scan()] == [(None, "cat"), (None, None), (None, None), (None, "dog")]


def test_parquet_files_as_the_hub_stores_them(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", image_table(2, names=NAMES))
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", image_table(2, names=NAMES, first=2))
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", image_table(1, names=NAMES, first=9))
    reader = open_huggingface(tmp_path)
    assert [entry.split for entry in reader.scan()] == ["test", "train", "train", "train", "train"]
    assert [read(reader, entry) for entry in reader.scan()] == [png(number) for number in (9, 0, 1, 2, 3)]
    assert reader.class_names() == NAMES
    (tmp_path / "data" / "test-00000-of-00001.parquet").rename(tmp_path / "data" / "more.parquet")
    with pytest.raises(NolaError, match=r"other file names contain their split, but 'data/more.parquet' does not"):
        open_huggingface(tmp_path)


def test_a_struct_without_bytes_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(1))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([{"bytes": None, "path": "one.png"}, None], struct)})
    reader = single_table(write_parquet(tmp_path / "t.parquet", table), None)
    first, second = reader.scan()
    assert read(reader, first) == png(1)
    with pytest.raises(OSError, match="the row has no image"):
        read(reader, second)


def test_a_folder_that_is_no_hugging_face_data_set(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"contains no Hugging Face data set: no dataset_dict\.json, no state\.json"):
        open_huggingface(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(NolaError, match=r"state\.json.* names no data files"):
        open_huggingface(tmp_path)
    (tmp_path / "state.json").write_text('{"_indices_data_files": [{"filename": "i.arrow"}], "_data_files": []}')
    with pytest.raises(NolaError, match="call flatten_indices"):
        open_huggingface(tmp_path)


@pytest.mark.parametrize("path", ["../b.png", "sub/../../b.png", "{elsewhere}/b.png", "link/../b.png"])
def test_images_outside_the_folder_are_refused_unless_allowed(tmp_path: Path, path: str) -> None:
    root, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for folder in (root / "sub", elsewhere / "deep"):
        folder.mkdir(parents=True)
    (root / "link").symlink_to(elsewhere / "deep")
    for number, name in enumerate(["photos/a.png", "elsewhere/b.png", "b.png"]):
        (tmp_path / name).write_bytes(png(number))
    path = path.format(elsewhere=elsewhere)
    write_csv(root / "list.csv", [["path"], ["a.png"], [path]])
    sentence = (
        rf"list.csv: row 2 refers to the image '{re.escape(path)}' outside .*photos; move the image there, or set `images.out"
    )
    with pytest.raises(NolaError, match=sentence):
        list(single_table(root, "list.csv").scan())
    reader = single_table(root, "list.csv", outside=True)
    assert [read(reader, entry) for entry in reader.scan()][1] in (png(1), png(2))


def test_every_way_to_an_image_inside_is_allowed(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (root / "lists").mkdir(parents=True)
    (tmp_path / "other name").symlink_to(root)
    (root / "a.png").write_bytes(png(0))
    (root / "link.png").symlink_to(root / "a.png")
    rows = [["../a.png"], [str(root / "a.png")], [str(tmp_path / "other name" / "a.png")], ["../lists/../link.png"]]
    write_csv(root / "lists" / "list.csv", [["path"], *rows])
    reader = single_table(root, "lists/list.csv")
    assert [read(reader, entry) for entry in reader.scan()] == [png(0)] * 4


def test_an_embedded_path_that_leads_outside_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([{"bytes": None, "path": str(tmp_path / "a.png")}], struct)})
    write_parquet(tmp_path / "hub" / "train.parquet", table)
    reader = open_huggingface(tmp_path / "hub")
    with pytest.raises(OSError, match=r"its path '.*a.png' leads outside .*hub; set images.outside: true to allow it"):
        read(reader, next(iter(reader.scan())))
    allowed = open_huggingface(tmp_path / "hub", outside=True)
    assert read(allowed, next(iter(allowed.scan()))) == png(0)


def test_a_table_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(NolaError, match=r"the table .*list.csv is not a regular file"):
        single_table(tmp_path, "list.csv")
