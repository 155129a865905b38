"""Corrections from the table to the product, on a tiny project: all four kinds, what they leave alone, and the switch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nola_core.exports.formats import export
from nola_core.files import read_json, read_table
from nola_core.prediction import Predictions, matrix
from tests.project import change
from tests.stages.children import Stages

AFTER = ("select", "fit", "tune", "predict", "evaluate", "report")
CHANGED = ("prepare", "describe", "classify", *AFTER)
RESULTS = (
    "classes.parquet",
    "labels.parquet",
    "pseudo_labels.parquet",
    "predictions.parquet",
    "metrics.json",
    "model/model.json",
)


def correct(root: Path, *rows: str) -> None:
    (root / "data" / "blobs.corrections.csv").write_text("\n".join(["what,name,class", *rows]) + "\n")


def results(root: Path) -> dict[str, bytes]:
    return {name: (root / "data" / "blobs" / name).read_bytes() for name in RESULTS}


def run(stages: Stages, root: Path, *names: str) -> None:
    for name in names:
        status, said = stages.run(root, name)
        assert status == 0, said


@pytest.fixture
def project(complete: Path, tmp_path: Path) -> Path:
    return shutil.copytree(complete, tmp_path / "p")


def test_all_four_kinds_reach_the_product_and_the_switch_takes_them_back(project: Path, stages: Stages, tmp_path: Path) -> None:
    before, folder = results(project), project / "data" / "blobs"
    manifest = read_table(folder / "manifest.parquet")
    train = manifest.loc[manifest["split"] == "train", "image_id"].tolist()
    test = manifest.loc[manifest["split"] == "test", "image_id"].tolist()
    embedded = {path: path.stat().st_mtime_ns for path in folder.glob("features/*/*/*")}
    pinned, none, own = train[0], train[1], test[0]
    rows = ("merge,bird,dog", "class,fox,", f"image,{pinned},fox", f"image,{none},(none)", f"image,{own},bird")
    correct(project, *rows)
    run(stages, project, *CHANGED)

    names = read_table(folder / "classes.parquet")["name"].tolist()
    assert names == ["cat", "dog", "fox"]
    labels = read_table(folder / "labels.parquet").set_index("image_id")["class_id"]
    assert set(labels[labels.index.str.startswith("bird/")]) == {1}, "labels follow the merge"
    described = read_table(folder / "descriptions.parquet").groupby("class")["text"].agg(list)
    assert described["fox"] == ["fox"] and len(described["dog"]) == 2
    chosen = read_table(folder / "pseudo_labels.parquet")
    fox = chosen[chosen["class_id"] == 2].iloc[0]
    assert (fox["image_id"], fox["rank"], fox["confidence"], fox["why"]) == (pinned, 1, 1.0, "given: a correction")
    assert (chosen["image_id"] == pinned).sum() == 1 and not (chosen["image_id"] == none).any()
    teacher = read_table(folder / "teacher.parquet").set_index("image_id")
    assert none not in teacher.index and len(teacher) == len(train) - 1
    assert (teacher.loc[pinned, "class_id"], teacher.loc[pinned, "probability"]) == (2, 1.0)
    assert Predictions.open(folder / "predictions.parquet").given() == {pinned: 2, none: -1, own: 1}
    metrics = read_json(folder / "metrics.json")
    counts = {"images": 3, "merges": 1, "classes": 1, "taught": 2, "reported": 1, "left_out": 0}
    assert metrics["corrections"] == counts and metrics["labelled"] == metrics["images"] == len(test)
    said = "5 corrections were given (3 images, 1 merged class, 1 new class): not label-free"
    assert said in (folder / "report.html").read_text() and said in (folder / "model" / "README.md").read_text()
    assert embedded == {path: path.stat().st_mtime_ns for path in folder.glob("features/*/*/*")}

    export(project, "blobs", to="csv", out=tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv").set_index("image").astype(object)
    shown = table.loc[[pinned, none, own], ["class", "corrected"]].fillna("")
    assert shown.to_numpy().tolist() == [["fox", "yes"], ["", "yes"], ["dog", "yes"]]
    assert table.loc[none, "reason"] == "corrected: it is of none of the classes" and table["corrected"].notna().sum() == 3
    assert export(project, "blobs", to="imagefolder", out=tmp_path / "folder") == len(train) + len(test) - 1
    assert export(project, "blobs", to="cleanlab", out=tmp_path / "cleanlab") == len(train) + len(test) - 1

    change(project / "params.yaml", "corrections", value=False)
    run(stages, project, *CHANGED)
    assert results(project) == before


def test_a_correction_alone_makes_no_figure_higher(project: Path, stages: Stages) -> None:
    """Every wrong test image is corrected: the answers of the methods, and so the accuracies, are those of before."""
    folder = project / "data" / "blobs"
    before = read_json(folder / "metrics.json")
    wrong = pd.read_csv(folder / "plots" / "confusion.csv")
    wrong = wrong[wrong["actual"] != wrong["predicted"]]
    assert len(wrong), "or this shows nothing"
    correct(project, *(f"image,{row.image_id},{row.actual}" for row in wrong.itertuples()))
    run(stages, project, "predict", "evaluate")
    after = read_json(folder / "metrics.json")
    assert after.pop("corrections")["reported"] == len(wrong)
    figures = before.keys() - {"unknown", "names"}  # these say which images and names are known, and a person knows better
    assert {key: after[key] for key in figures} == {key: before[key] for key in figures}


def test_images_that_were_learnt_from_are_no_test(project: Path, stages: Stages) -> None:
    folder = project / "data" / "blobs"
    manifest = read_table(folder / "manifest.parquet")
    given = manifest.loc[manifest["split"] == "train", "image_id"].tolist()[:4]
    correct(project, *(f"image,{image_id},{image_id.split('/')[0]}" for image_id in given))
    run(stages, project, "select", "fit", "tune", "predict", "evaluate")
    metrics = read_json(folder / "metrics.json")
    chosen = read_table(folder / "pseudo_labels.parquet")
    chosen = chosen[chosen["selected"] & ~chosen["image_id"].isin(given)]
    names = np.array(["cat", "dog", "bird"])
    right = names[chosen["class_id"]] == chosen["image_id"].str.split("/").str[0]
    assert metrics["pseudo_labels"]["accuracy"] == pytest.approx(right.mean())
    final = Predictions.open(folder / "predictions.parquet").read("train", "nola", ["image_id", "class_id", "top_classes"])
    final = final[~final["image_id"].isin(given)]
    assert metrics["splits"]["train"]["nola"]["top1"] == pytest.approx(
        (names[matrix(final["top_classes"])[:, 0]] == final["image_id"].str.split("/").str[0]).mean()
    )


def test_a_wrong_table_stops_the_first_stage_with_its_line(project: Path, stages: Stages) -> None:
    correct(project, "image,cat/000.png,dog", "image,cat/999.png,dog")
    status, said = stages.run(project, "prepare")
    assert status == 1 and "data/blobs.corrections.csv, line 3: there is no image 'cat/999.png'" in said
