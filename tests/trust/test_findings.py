"""What `predict` says of collections in which the answer is known: a class without a name, names without an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.trust.made import make


def test_a_class_without_a_name_comes_out_as_one_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path, classes=4, named=[0, 1, 2])
    table = made.table("unknown").set_index("image_id")
    unnamed = made.labels.loc[table.index] == 3
    assert roc_auc_score(unnamed, table["score"]) > 0.99
    assert table.loc[~unnamed, "group"].isna().all() and (table.loc[unnamed, "group"] == 1).sum() >= 28
    group = made.table("unknown_groups").iloc[0]
    assert len(made.table("unknown_groups")) == 1 and group["images"] == table["group"].notna().sum()
    assert (made.labels.loc[group["image_ids"]] == 3).all() and group["shares"].sum() <= 1 + 1e-6
    assert " images look alike and fit none of the names.\n" in capsys.readouterr().out


def test_where_all_images_fit_there_is_no_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path, classes=4, named=[0, 1, 2, 3])
    assert made.table("unknown_groups").empty and made.table("unknown")["group"].isna().all()
    assert capsys.readouterr().out == "No group of similar images was found that fits none of the names.\n"
    table = made.table("unknown").set_index("image_id")
    assert (table["class_id"] == made.labels.loc[table.index]).all()
    assert set(table["split"]) == {"train", "test"} and len(table) == 120


def test_a_third_of_the_names_is_absent_and_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path, classes=9, named=range(9), occurring=[0, 2, 3, 5, 6, 8])
    table = made.table("class_proportions")
    assert table.loc[table["absent"], "class"].tolist() == ["class 1", "class 4", "class 7"]
    assert np.allclose(table.loc[~table["absent"], "proportion"], 1 / 6, atol=0.02)
    assert "3 of 9 names seem not to occur in the images: class 1, class 4, class 7." in capsys.readouterr().out


def test_more_names_than_images(tmp_path: Path) -> None:
    made = make(tmp_path, classes=16, named=range(16), images=5, occurring=[1, 3, 5, 7, 9])
    table = made.table("class_proportions")
    assert set(table.loc[~table["absent"], "class_id"]) == {1, 3, 5, 7, 9}


def test_a_single_pseudo_labelled_class_needs_no_probe(tmp_path: Path) -> None:
    made = make(tmp_path, classes=3, named=[0, 1], images=12, occurring=[0])
    assert made.table("unknown")["score"].between(-1e-6, 2).all()
