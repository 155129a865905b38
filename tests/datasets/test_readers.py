"""Readers list every image once, in a fixed order, with its split and the label it would have."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from nola_core.datasets.definition import ReaderName
from nola_core.datasets.image import decode
from nola_core.datasets.readers.digits import DigitsReader
from nola_core.datasets.readers.folder import FolderReader
from nola_core.errors import NolaError


def tree(root: Path, *names: str) -> FolderReader:
    root.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"bytes {number}".encode())
    return FolderReader(root)


def test_every_name_a_definition_may_hold_has_its_reader() -> None:
    for name in get_args(ReaderName):
        assert callable(import_module(f"nola_core.datasets.readers.{name}").from_definition)


def test_nested_folders_give_labels_and_no_splits(tmp_path: Path) -> None:
    reader = tree(tmp_path, "b/deep/2.png", "b/1.JPG", "a/3.jpeg", "top.webp")
    found = list(reader.scan())
    assert [(entry.image_id, entry.label, entry.split) for entry in found] == [
        ("a/3.jpeg", "a", None),
        ("b/1.JPG", "b", None),
        ("b/deep/2.png", "deep", None),
        ("top.webp", None, None),
    ]
    assert [reader.read(path=entry.path, shard=entry.shard, row=entry.row) for entry in found] == [
        b"bytes 2",
        b"bytes 1",
        b"bytes 0",
        b"bytes 3",
    ]
    assert reader.class_names() == ["a", "b", "deep"]


def test_every_suffix_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    images = {f"{n}.{suffix}" for n, suffix in enumerate(["jpg", "JPEG", "Png", "webp", "tif", "TIFF", "bmp", "gif"])}
    others = {"notes.txt", "labels.csv", "jpg", "a.png.part", ".hidden.png", "._a.jpg", ".trash/a.png", "a/.b/c.png"}
    (tmp_path / "folder.png").mkdir()
    reader = tree(tmp_path, *sorted(images | others), "folder.png/inside.png")
    assert {entry.image_id for entry in reader.scan()} == images | {"folder.png/inside.png"}


def test_a_broken_link_is_listed_not_lost(tmp_path: Path) -> None:
    reader = tree(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "a.png")
    assert [entry.image_id for entry in reader.scan()] == ["a.png", "b.png", "c.png"]


def test_top_folders_train_val_test_are_splits(tmp_path: Path) -> None:
    reader = tree(tmp_path, "train/cat/1.png", "val/cat/1.png", "test/dog/1.png", "test/2.png", ".cache/x.png")
    assert [(entry.image_id, entry.split, entry.label) for entry in reader.scan()] == [
        ("test/2.png", "test", None),
        ("test/dog/1.png", "test", "dog"),
        ("train/cat/1.png", "train", "cat"),
        ("val/cat/1.png", "val", "cat"),
    ]
    assert reader.class_names() == ["cat", "dog"]


@pytest.mark.parametrize("names", [("test/1.png", "val/1.png"), ("train/1.png", "car/1.png", "test/1.png")])
def test_other_top_folders_are_no_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert {entry.split for entry in tree(tmp_path, *names).scan()} == {None}


def test_an_image_beside_the_split_folders_is_refused(tmp_path: Path) -> None:
    reader = tree(tmp_path, "train/1.png", "test/1.png", "stray.png")
    with pytest.raises(NolaError, match=r"image 'stray.png' is outside the split folders; move it"):
        list(reader.scan())


def test_a_file_name_that_is_no_text_is_listed_with_its_reason(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    except OSError:
        pytest.skip("this file system keeps UTF-8 names only")
    (entry,) = FolderReader(tmp_path).scan()
    assert (entry.image_id, entry.problem) == (r"caf\udce9.png", "the file name is not UTF-8; rename it")


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"the image folder .*/nowhere does not exist"):
        FolderReader(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NolaError, match="does not exist"):
        FolderReader(tmp_path / "file")


def test_the_digits() -> None:
    reader = DigitsReader()
    found = list(reader.scan())
    assert len(found) == 1797 and len({entry.image_id for entry in found}) == 1797
    assert {entry.label for entry in found} == set(reader.class_names()) and found[0].label == "zero"
    entry = found[3]
    data = reader.read(path=entry.path, shard=entry.shard, row=entry.row)
    assert data == reader.read(path=entry.path, shard=entry.shard, row=entry.row)
    image = decode(data)
    assert image.size == (32, 32)
    small = np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX), dtype=float)
    assert np.corrcoef(small.ravel(), reader.images[3].ravel())[0, 1] > 0.95
