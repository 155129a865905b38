"""Every data set of the catalog is read from its distributed layouts; similar but wrong layouts are refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nola_core.datasets.catalog import load_entry, names
from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.datasets.image import decode
from nola_core.datasets.manifest import MANIFEST_SCHEMA, prepare
from nola_core.datasets.readers import Reader, open_reader
from nola_core.errors import NolaError
from tests.collection import write_collection
from tests.datasets.catalog.fixtures import COOP, DISTRIBUTED, Rows, coop, pixels, python2_batch, write


def definition_of(root: Path, dataset: str, *, labels: str = "reader") -> DatasetDefinition:
    """A data set of the catalog whose images are in `root/images`."""
    images = {"reader": "catalog", "dataset": dataset, "holdout": 0, "labels": labels}
    write_collection(root, dataset=dataset, images=images, classes=load_entry(dataset).names[:10])
    (root / "images").mkdir(exist_ok=True)
    return load_definition(root, dataset)


def reader_of(root: Path, dataset: str) -> Reader:
    return open_reader(definition_of(root, dataset))


def listed(reader: Reader) -> Rows:
    return [(entry.image_id, entry.split, str(entry.label)) for entry in reader.scan()]


def check_images(reader: Reader) -> None:
    for entry in reader.scan():
        assert decode(reader.read(path=entry.path, shard=entry.shard, row=entry.row)).mode == "RGB"


def test_every_data_set_of_the_catalog_has_a_fixture() -> None:
    assert set(DISTRIBUTED) == set(names())
    with_split = {name for name in names() if load_entry(name).layouts[0].kind == "coop"}
    assert with_split == set(COOP)


@pytest.mark.parametrize("dataset", DISTRIBUTED)
def test_the_distributors_layout(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "images").mkdir()
    rows = DISTRIBUTED[dataset](tmp_path / "images")
    reader = reader_of(tmp_path, dataset)
    assert listed(reader) == rows
    assert {entry.label for entry in reader.scan()} <= set(reader.class_names())
    check_images(reader)


@pytest.mark.parametrize("dataset", COOP)
def test_the_split_of_coop_goes_before_the_distributors(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "images").mkdir()
    DISTRIBUTED[dataset](tmp_path / "images")
    rows = coop(tmp_path / "images", dataset, load_entry(dataset).names)
    reader = reader_of(tmp_path, dataset)
    assert listed(reader) == rows
    check_images(reader)


@pytest.mark.parametrize(("dataset", "below"), [(name, below) for name in names() for below in load_entry(name).below])
def test_the_folder_that_torchvision_makes_may_be_named_instead(tmp_path: Path, dataset: str, below: str) -> None:
    (tmp_path / "images" / below).mkdir(parents=True)
    rows = DISTRIBUTED[dataset](tmp_path / "images" / below)
    assert listed(reader_of(tmp_path, dataset)) == rows


def test_class_folders_without_lists_have_no_split_but_half_the_lists_are_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    rows = DISTRIBUTED["resisc45"](images)
    (images / "resisc45-test.txt").unlink()
    with pytest.raises(NolaError, match=r"Missing: resisc45-test.txt in .*images. Unpack NWPU-RESISC45.rar"):
        reader_of(tmp_path, "resisc45")
    (images / "resisc45-train.txt").unlink()
    (images / "resisc45-val.txt").unlink()
    assert listed(reader_of(tmp_path, "resisc45")) == [(path, None, name) for path, _, name in rows]


def test_pixels_of_cifar_come_out_as_they_went_in(tmp_path: Path) -> None:
    images = tmp_path / "images"
    DISTRIBUTED["cifar10"](images)
    reader = reader_of(tmp_path, "cifar10")
    picture = decode(reader.read(path="", shard="data_batch_3", row=1))
    assert np.array_equal(np.asarray(picture).transpose(2, 0, 1).ravel(), pixels(2, 3)[1])


def test_truth_goes_to_the_labels_and_nowhere_else(tmp_path: Path) -> None:
    """The same pixels with other labels: manifest and classes are equal to the last byte."""
    prepared = []
    for number, labels in enumerate([list(range(10)), list(range(9, -1, -1))]):
        root = tmp_path / str(number)
        for batch in range(1, 6):
            write(root / "images", f"data_batch_{batch}", python2_batch(pixels(10, batch), "labels", labels))
        write(root / "images", "test_batch", python2_batch(pixels(10), "labels", labels))
        prepared.append(prepare(definition_of(root, "cifar10"), max_pixels=10_000, folder=root / "out"))
    first, second = prepared
    assert set(first.manifest.columns) == set(MANIFEST_SCHEMA.names)
    pd.testing.assert_frame_equal(first.manifest, second.manifest)
    pd.testing.assert_frame_equal(first.classes, second.classes)
    assert first.labels["class_id"].tolist() == list(range(10)) * 6
    assert second.labels["class_id"].tolist() == list(range(9, -1, -1)) * 6
    blind = prepare(definition_of(tmp_path / "0", "cifar10", labels="none"), max_pixels=10_000, folder=tmp_path / "blind")
    assert blind.labels.empty
    pd.testing.assert_frame_equal(blind.manifest, first.manifest)


def test_an_incomplete_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"split_zhou_OxfordPets.json, images in .*; or annotations/trainval.txt, annotations/te"):
        reader_of(tmp_path, "oxford_pets")
    with pytest.raises(NolaError, match="does not exist"):
        (tmp_path / "images").rmdir()
        open_reader(load_definition(tmp_path, "oxford_pets"))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (["x.jpg", 1, "banded"], r"train entry 2 calls class 1 'banded'; in the catalog it is 'blotchy'"),
        (["x.jpg", 47, "banded"], r"train entry 2 has the label 47; labels are 0 to 46"),
        (["x.jpg", 0], r"train entry 2 is \['x.jpg', 0\], not \[path, label, class name\]"),
    ],
)
def test_a_split_file_that_is_not_coops_is_refused(tmp_path: Path, row: list[object], sentence: str) -> None:
    split = {"train": [["banded/a.jpg", 0, "banded"], row], "val": [], "test": []}
    write(tmp_path / "images", "split_zhou_DescribableTextures.json", json.dumps(split))
    write(tmp_path / "images", "images/banded/a.jpg")
    with pytest.raises(NolaError, match=sentence):
        list(reader_of(tmp_path, "dtd").scan())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("unicorn_1 1 1 1", r"trainval.txt: line 2: 'unicorn' is not one of the 37 classes"),
        ("Abyssinian_100", r"trainval.txt: line 2 is 'Abyssinian_100', which does not have the official format"),
    ],
)
def test_a_damaged_list_is_refused_by_line(tmp_path: Path, line: str, sentence: str) -> None:
    write(tmp_path / "images", "annotations/trainval.txt", f"Abyssinian_1 1 1 1\n{line}\n")
    write(tmp_path / "images", "annotations/test.txt", "# nothing\n\n")
    write(tmp_path / "images", "images/Abyssinian_1.jpg")
    with pytest.raises(NolaError, match=sentence):
        list(reader_of(tmp_path, "oxford_pets").scan())


def test_validation_images_of_imagenet_that_were_not_sorted_are_refused(tmp_path: Path) -> None:
    DISTRIBUTED["imagenet"](tmp_path / "images")
    write(tmp_path / "images", "val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(NolaError, match=r"val: image 'ILSVRC2012_val_00000001.JPEG' is not in a class folder"):
        list(reader_of(tmp_path, "imagenet").scan())


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    DISTRIBUTED["eurosat"](tmp_path / "images")
    (tmp_path / "images" / "2750" / "Desert").mkdir()
    with pytest.raises(NolaError, match=r"2750: 'Desert' is not one of the 10 classes"):
        list(reader_of(tmp_path, "eurosat").scan())


@pytest.mark.parametrize("file", ["imagelabels.mat", "setid.mat"])
def test_damaged_matlab_files_are_named(tmp_path: Path, file: str) -> None:
    (tmp_path / "images").mkdir()
    DISTRIBUTED["flowers102"](tmp_path / "images")
    write(tmp_path / "images", file, "no MATLAB file at all")
    with pytest.raises(NolaError, match=rf"{file} cannot be read as a MATLAB file"):
        list(reader_of(tmp_path, "flowers102").scan())


class Mischief:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            pickle.dumps(Mischief(), protocol=2),
            r"test cannot be read as a CIFAR batch \(it contains a reference to posix.system\)",
        ),
        (b"no pickle", "test cannot be read as a CIFAR batch"),
        (pickle.dumps({"data": 1}, protocol=2), "test has no uint8 array 'data' of 3,072 columns"),
        (python2_batch(pixels(2), "coarse_labels", [0, 1]), "test has no list 'fine_labels' of 2 labels"),
        (python2_batch(pixels(1), "fine_labels", [100]), "test: label 100 is not one of 0 to 99"),
    ],
)
def test_a_batch_that_is_no_batch_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    DISTRIBUTED["cifar100"](tmp_path / "images")
    write(tmp_path / "images", "test", content)
    with pytest.raises(NolaError, match=sentence):
        list(reader_of(tmp_path, "cifar100").scan())
    assert not (tmp_path / "owned").exists()
