"""Stage prepare on real folders: every file is recorded, and errors are clear messages."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nola_core.datasets.definition import DatasetDefinition, Images, load_definition
from nola_core.datasets.listing import survey
from nola_core.datasets.manifest import MANIFEST_SCHEMA, Prepared, prepare
from nola_core.datasets.opener import image_opener
from nola_core.datasets.readers import Found
from nola_core.errors import NolaError
from tests.collection import write_collection
from tests.project import run
from tests.tiny import write_photos


def definition_of(root: Path, *, holdout: float = 0, labels: str = "none", **keys: Any) -> DatasetDefinition:
    images = {"reader": "folder", "holdout": holdout, "labels": labels}
    return load_definition(write_collection(root, images=images, **keys), "toy")


def prepared(root: Path, **keys: Any) -> Prepared:
    return prepare(definition_of(root, **keys), max_pixels=10_000, folder=root / "data" / "toy")


def test_every_file_is_recorded_usable_or_with_its_reason(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "images", count=4)
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    (folder / "half.png").write_bytes((folder / "000.png").read_bytes()[:300])
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("no image at all")
    Image.new("L", (200, 51)).save(folder / "large.png")
    manifest = prepared(tmp_path).manifest
    assert list(manifest.columns) == MANIFEST_SCHEMA.names
    reasons = dict(zip(manifest["image_id"], manifest["reason"], strict=True))
    assert {name: reason for name, reason in reasons.items() if reason and name != "half.png"} == {
        "gone.png": "cannot be read: No such file or directory",
        "large.png": "200 x 51 pixels are more than prepare.max_pixels = 10000",
        "text.png": "not an image of a known format",
        "zero.png": "the file is empty",
    }
    assert reasons["half.png"].startswith("damaged image: ")
    assert manifest["ok"].tolist() == [not reasons[image] for image in manifest["image_id"]]
    usable = manifest[manifest["ok"]]
    assert (usable[["width", "height"]] == 20).all(axis=None) and set(manifest["split"]) == {"train"}
    assert usable["sha256"].tolist() == [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in usable["path"]]


def test_the_stage_goes_on_and_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_collection(tmp_path)
    (write_photos(tmp_path / "images", count=3) / "bad.jpg").write_text("not a picture")
    assert run(tmp_path, "prepare", dataset="toy") == 0
    out = capsys.readouterr().out
    assert "4 images, 1 of them not usable, 2 classes" in out
    assert "not usable: bad.jpg: not an image of a known format" in out
    labels = pd.read_parquet(tmp_path / "data/toy/labels.parquet")
    assert labels.empty and list(labels.columns) == ["image_id", "class_id"]


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "readme.txt").touch()
    with pytest.raises(NolaError, match="contains no images; NoLA looks for JPEG, PNG"):
        prepared(tmp_path)


def test_no_usable_train_image_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_photos(folder / "test", count=2)
    (folder / "train").mkdir()
    (folder / "train" / "a.png").write_text("text")
    with pytest.raises(NolaError, match=re.escape("none of its 3 images can be used for training (not an image of a known")):
        prepared(tmp_path)


def test_everything_held_out_says_so(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", count=3)
    with pytest.raises(NolaError, match=re.escape("can be used for training (all images are held out)")):
        prepared(tmp_path, holdout=3)


def test_fewer_images_than_classes_is_let_through_and_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "images", count=1)
    (tmp_path / "images" / "bad.png").write_text("text")
    write_collection(tmp_path, classes=[f"class {number}" for number in range(1000)])
    assert run(tmp_path, "prepare", dataset="toy") == 0
    assert "WARNING: 1 usable train image for 1,000 classes" in capsys.readouterr().out
    write_collection(tmp_path, classes=["cat", "dog"])
    write_photos(tmp_path / "images", count=2)
    assert run(tmp_path, "prepare", dataset="toy") == 0
    assert "WARNING" not in capsys.readouterr().out


def test_a_wrong_class_list_writes_nothing(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", count=3)
    for classes, sentence in ((["cat", "Cat"], "duplicate class names"), ("folders", "contains no class names; list them")):
        with pytest.raises(NolaError, match=sentence):
            prepared(tmp_path, classes=classes)
    assert not (tmp_path / "data" / "toy").exists()


def test_classes_are_numbered_in_their_order(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", count=3)
    (tmp_path / "names.txt").write_bytes("sea_lion\nCafé crème\n".encode())
    assert prepared(tmp_path, classes="names.txt").classes.to_dict("list") == {
        "class_id": [0, 1],
        "name": ["sea_lion", "Café crème"],
        "display_name": ["sea lion", "Café crème"],
    }


def test_labels_are_read_only_when_asked_for(tmp_path: Path) -> None:
    for label in ("dog", "cat"):
        write_photos(tmp_path / "images" / label, count=2, seed=len(label))
    write_photos(tmp_path / "images", count=1)
    for classes in (["dog", "cat"], "folders"):
        result = prepared(tmp_path, labels="folders", classes=classes)
        ids = dict(zip(result.classes["name"], result.classes["class_id"], strict=True))
        assert {tuple(row) for row in result.labels.itertuples(index=False)} == {
            (f"{label}/00{n}.png", ids[label]) for label in ("dog", "cat") for n in (0, 1)
        }
    (tmp_path / "images" / "dog").rename(tmp_path / "images" / unicodedata.normalize("NFD", "Chien_à_poil"))  # as macOS writes it
    renamed = prepared(tmp_path, labels="folders", classes=["chien à poil", "cat"])
    assert renamed.labels["class_id"].value_counts().to_dict() == {0: 2, 1: 2}
    silent = prepared(tmp_path, labels="none")
    assert silent.labels.empty
    assert not {"label", "class_id"} & set(silent.manifest.columns)
    with pytest.raises(NolaError, match=r"the folder 'cat' \(image 'cat/000.png'\) is not a class in data/toy.yaml; rename it"):
        prepared(tmp_path, labels="folders", classes=["chien à poil", "owl"])


def found_of(names: list[str]) -> list[Found]:
    return [Found(name, name, "", -1, None, None) for name in names]


@dataclass
class Listed:
    """A reader that lists entries but cannot open them."""

    found: list[Found]

    def scan(self) -> Iterator[Found]:
        return iter(self.found)

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        raise AssertionError(f"{path} was opened")

    def class_names(self) -> list[str]:
        return []


def splits_of(definition: DatasetDefinition, found: list[Found]) -> list[str]:
    listing = survey(definition, Listed(found))
    splits = [listing.split_of(entry) for entry in found]
    assert {split: splits.count(split) for split in splits} == {split: count for split, count in listing.splits.items() if count}
    return splits


def definition_with(holdout: float) -> DatasetDefinition:
    images = Images(reader="folder", holdout=holdout, labels="none")
    return DatasetDefinition(name="toy", source="x", images=images, classes=["a", "b"], templates=["{}"], backbones=None)


@given(st.sets(st.text(min_size=1), min_size=1, max_size=30), st.sets(st.text(min_size=1), max_size=30), st.floats(0, 0.99))
@settings(max_examples=50, deadline=None)
def test_a_share_held_out_never_moves_when_the_collection_grows(old: set[str], new: set[str], holdout: float) -> None:
    definition = definition_with(holdout)
    before, after = sorted(old), sorted(old | new)
    grown = dict(zip(after, splits_of(definition, found_of(after)), strict=True))
    assert [grown[name] for name in before] == splits_of(definition, found_of(before))


@given(st.sets(st.integers(), min_size=1, max_size=40), st.integers(1, 40))
def test_a_number_held_out_is_exact(numbers: set[int], holdout: int) -> None:
    splits = splits_of(definition_with(holdout), found_of([str(number) for number in numbers]))
    assert splits.count("test") == min(holdout, len(numbers))


def test_a_share_held_out_is_about_that_share_and_a_sources_own_split_wins() -> None:
    names = [f"{number:05d}" for number in range(4000)]
    assert 0.18 < splits_of(definition_with(0.2), found_of(names)).count("test") / 4000 < 0.22
    assert set(splits_of(definition_with(0), found_of(names))) == {"train"}
    own = [Found("a", "a", "", -1, "val", None), Found("b", "b", "", -1, "train", None)]
    assert splits_of(definition_with(0.5), own) == ["val", "train"]


def test_ids_come_once_and_splits_are_for_all_or_for_none() -> None:
    with pytest.raises(NolaError, match=r"x lists the image 'b' more than once"):
        survey(definition_with(0), Listed(found_of(["a", "b", "c", "b"])))
    own = Found("b", "b", "", -1, "train", None)
    with pytest.raises(NolaError, match=r"x: other images have a split, but 'a' has none"):
        survey(definition_with(0), Listed([own, *found_of(["a"])]))


def test_the_digits_have_exactly_their_held_out_images(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    result = prepare(load_definition(root, "digits"), max_pixels=2000, folder=tmp_path)
    assert result.manifest["split"].value_counts().to_dict() == {"train": 1297, "test": 500}
    assert result.manifest["ok"].all() and (result.manifest[["width", "height"]] == 32).all(axis=None)
    assert len(result.labels) == 1797 and np.bincount(result.labels["class_id"]).min() > 150


def test_images_are_opened_by_id_and_every_failure_names_them(tmp_path: Path) -> None:
    write_collection(tmp_path)
    folder = write_photos(tmp_path / "images", count=4)
    (folder / "bad.png").write_text("not a picture")
    assert run(tmp_path, "prepare", dataset="toy") == 0
    open_image = image_opener(tmp_path, "toy")
    assert np.array_equal(np.asarray(open_image("002.png")), np.asarray(Image.open(folder / "002.png")))

    (folder / "000.png").unlink()
    (folder / "001.png").write_bytes((folder / "003.png").read_bytes())
    for image, sentence in {
        "999.png": r"data set 'toy' has no image '999.png'",
        "bad.png": r"image 'bad.png' of .*/images cannot be used: not an image of a known format",
        "000.png": r"'000.png' of .*/images cannot be read \(No such file or directory\); restore it",
        "001.png": r"'001.png' of .*/images has changed since `prepare` read it; restore it, or run `dvc repro --force prepare@",
    }.items():
        with pytest.raises(NolaError, match=sentence):
            open_image(image)
