"""What the explorer reads, and what it says about one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nola_core.errors import NolaError
from nola_core.explore.collection import read
from nola_core.explore.details import Details
from tests.explore.example import CLASSES, write_explored


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_explored(root, pictures=False)
    return root


def test_every_row_has_the_properties_of_its_image(root: Path) -> None:
    shown = read(root, "toy")
    table = pd.read_parquet(root / "data/toy/predictions.parquet")
    assert list(shown.methods) == ["evidence", "zero_shot"]  # the final method first
    for name, answers in shown.methods.items():
        rows = table[table["method"] == name].set_index("image_id").loc[list(shown.ids)]
        assert answers.classes[:, 0].tolist() == rows["class_id"].tolist()
        assert answers.probabilities[:, 0] == pytest.approx(rows["probability"].to_numpy())
    numbers = np.array([int(one[:3]) for one in shown.ids])
    assert [shown.splits[place] for place in shown.split] == ["train" if number < 20 else "test" for number in numbers]
    assert set(numbers[shown.group == 1]) == {3, 4, 5, 6} and set(numbers[shown.misfit]) == set(range(8))
    assert shown.whole == 30 and shown.names == list(CLASSES)


def test_a_sample_keeps_rows_and_features_together(root: Path) -> None:
    everything, some = read(root, "toy"), read(root, "toy", images=11)
    assert len(some.ids) == 11 and some.whole == 30
    rows = everything.row_of(pd.Series(some.ids))
    assert some.features.tolist() == everything.features[rows].tolist()
    assert some.score.tolist() == everything.score[rows].tolist() and some.split.tolist() == everything.split[rows].tolist()
    for name, answers in some.methods.items():
        assert answers.classes.tolist() == everything.methods[name].classes[rows].tolist()


def test_the_labels_are_not_read(root: Path) -> None:
    assert not (root / "data/toy/labels.parquet").exists()
    (root / "data/toy/labels.parquet").write_bytes(b"whoever reads this fails")
    Details(read(root, "toy")).of(0)
    (root / "data/toy/labels.parquet").unlink()


def test_an_image_is_explained_by_all_methods_neighbours_and_descriptions(root: Path) -> None:
    shown = read(root, "toy")
    found = Details(shown).of(0)
    assert (found["id"], found["split"], found["group"]) == ("000.png", "train", 0)
    assert found["answers"]["evidence"][0] == [0, pytest.approx(0.4)] and found["answers"]["zero_shot"][0][0] == 1
    assert found["similar"][0] == [1, pytest.approx(1, abs=1e-3)] and 0 not in [row for row, _ in found["similar"]]
    cosines = shown.features @ shown.features[0]
    assert [row for row, _ in found["similar"]] == [row for row in np.argsort(-cosines).tolist() if row][:12]
    assert found["duplicates"] == [{"row": 1, "id": "001.png", "similarity": pytest.approx(0.999), "exact": False}]
    assert [text for text, _ in found["for"]] == ["a photo of a ant"]
    assert [text for text, _ in found["against"]] == ["never mind the ant"] and found["against"][0][1] < 0
    assert Details(shown).of(1)["duplicates"][0]["row"] == 0


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    write_explored(tmp_path, pictures=False)
    for name in ("description_quality", "unknown", "unknown_groups", "near_duplicates"):
        (tmp_path / f"data/toy/{name}.parquet").unlink()
    shown = read(tmp_path, "toy")
    found = Details(shown).of(3)
    assert found["for"] == found["rival"] == found["duplicates"] == [] and found["score"] is None
    assert not shown.misfit.any() and not shown.group.any()


def test_a_method_that_missed_an_image_is_an_error(tmp_path: Path) -> None:
    write_explored(tmp_path, pictures=False)
    path = tmp_path / "data/toy/predictions.parquet"
    table = pd.read_parquet(path)
    table[table["image_id"] != "004.png"].to_parquet(path)
    with pytest.raises(NolaError, match=r"has not predicted the image '004.png'; run the stage predict again"):
        read(tmp_path, "toy")
