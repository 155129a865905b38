"""Torchvision's classes over small folders in their own layouts: files unchanged, arrays without loss, no downloads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nola_core.datasets.image import decode
from nola_core.datasets.readers.torchvision import TorchvisionReader
from nola_core.errors import NolaError
from tests.datasets.sources import png, read


def write_pets(root: Path) -> Path:
    images, notes = root / "oxford-iiit-pet" / "images", root / "oxford-iiit-pet" / "annotations"
    images.mkdir(parents=True)
    notes.mkdir()
    for number, name in enumerate(("Abyssinian_1", "beagle_1", "beagle_2")):
        (images / f"{name}.jpg").write_bytes(png(number))
    (notes / "trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_1 2 2 1\n")
    (notes / "test.txt").write_text("beagle_2 2 2 1\n")
    return root


def test_files_are_read_as_they_are(tmp_path: Path) -> None:
    reader = TorchvisionReader(write_pets(tmp_path), "OxfordIIITPet")
    found = list(reader.scan())
    folder = "oxford-iiit-pet/images"
    assert [(entry.image_id, entry.split, entry.label) for entry in found] == [
        (f"{folder}/Abyssinian_1.jpg", "train", "Abyssinian"),
        (f"{folder}/beagle_1.jpg", "train", "Beagle"),
        (f"{folder}/beagle_2.jpg", "test", "Beagle"),
    ]
    assert [read(reader, entry) for entry in found] == [png(0), png(1), png(2)]
    assert reader.class_names() == ["Abyssinian", "Beagle"]
    only = TorchvisionReader(tmp_path, "OxfordIIITPet", splits={"test": "train"})
    assert [(entry.image_id, entry.split) for entry in only.scan()] == [(f"{folder}/beagle_2.jpg", "train")]


def test_arrays_are_encoded_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8) for name, _ in CIFAR10.train_list + CIFAR10.test_list}
    for name, values in pixels.items():
        (folder / name).write_bytes(pickle.dumps({"data": values.reshape(2, -1), "labels": [1, 0]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    reader = TorchvisionReader(tmp_path, "CIFAR10")
    found = list(reader.scan())
    assert [entry.split for entry in found] == ["train"] * 10 + ["test"] * 2
    assert found[3].image_id == "train/000003" and found[3].label == "airplane"
    assert reader.class_names() == ["airplane", "automobile"]
    image = np.asarray(decode(read(reader, found[3])))
    assert np.array_equal(image, pixels["data_batch_2"][1].transpose(1, 2, 0))
    with pytest.raises(OSError, match="no longer has image 10 in 'train'"):
        reader.read(path="", shard="train", row=10)


def test_what_is_not_there_is_a_sentence_and_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("urllib.request.urlopen", fetched)
    for name in ("CIFAR10", "EuroSAT", "DTD", "Food101", "OxfordIIITPet"):
        with pytest.raises(
            NolaError, match=rf"torchvision's {name} cannot be read .* to download it: .*{name}\(.*download=True\)"
        ):
            list(TorchvisionReader(tmp_path, name).scan())
    with pytest.raises(NolaError, match=r"torchvision has no data set 'Cifar10'; did you mean 'CIFAR10'\?"):
        TorchvisionReader(tmp_path, "Cifar10")
    with pytest.raises(NolaError, match=r"the folder .*gone of torchvision's DTD does not exist"):
        TorchvisionReader(tmp_path / "gone", "DTD")
