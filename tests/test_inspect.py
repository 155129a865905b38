"""Pages of a small finished data set, and messages about wrong names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nola_core import inspect
from nola_core.errors import NolaError
from nola_core.files import write_json
from nola_core.lookup import dataset_folder
from tests.report.example import image_of, in_force_of, write_example


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_example(root / "data/pets")
    shutil.rmtree(root / "data/pets/features/clip")
    return root


def ids_of(page: inspect.Page) -> list[str]:
    return page.table["image_id"].tolist()


def test_features_are_those_of_the_stored_rows(root: Path) -> None:
    page = inspect.features(root, "pets", role="ssl", split="test", rows=2, offset=3)
    assert page.notes == ("test: 30 x 4 float16; vit_tiny, weights demo/ssl.safetensors, sha256 abababababab",)
    assert (ids_of(page), page.offset, page.whole) == (["pictures/063.png", "pictures/064.png"], 3, 30)
    stored = np.load(root / "data/pets/features/ssl/test/features.npy").astype(np.float32)
    assert page.table["norm"].tolist() == pytest.approx(np.linalg.norm(stored[3:5], axis=1).tolist())
    assert page.table["first_values"].tolist() == stored[3:5].tolist()


def test_features_of_a_predicted_class_never_look_at_the_truth(root: Path) -> None:
    predictions = pd.read_parquet(root / "data/pets/predictions.parquet").query("method == 'nola' and class_id == 2")
    page = inspect.features(root, "pets", role="ssl", class_name="OWL")
    assert sorted(ids_of(page)) == sorted(predictions["image_id"])
    truth = root / "data/pets/labels.parquet"
    hidden = truth.rename(truth.with_suffix(".hidden"))
    try:
        pd.testing.assert_frame_equal(inspect.features(root, "pets", role="ssl", class_name="OWL").table, page.table)
    finally:
        hidden.rename(truth)


def test_signals_stand_by_split_and_method_and_say_that_they_are_no_accuracy(root: Path) -> None:
    page = inspect.signals(root, "pets")
    assert page.table[["split", "method"]].to_numpy().tolist() == [
        ["test", name] for name in ("zero_shot", "cde", "alignment", "nola")
    ]
    assert page.table["neighbors_ssl"].tolist() == [0.8] * 4
    assert page.notes[0] == "no signal is an accuracy" and "was more accurate in" in page.notes[1]


def test_one_image(root: Path) -> None:
    assert ids_of(inspect.features(root, "pets", role="ssl", image_id="pictures/061.png")) == ["pictures/061.png"]
    assert ids_of(inspect.pseudo_labels(root, "pets", image_id="pictures/011.png")) == ["pictures/011.png"]


def test_pseudo_labels_of_a_class_by_rank(root: Path) -> None:
    page = inspect.pseudo_labels(root, "pets", class_name="cat", selected=True)
    table = pd.read_parquet(root / "data/pets/pseudo_labels.parquet").query("class_id == 0 and selected")
    assert ids_of(page) == table.sort_values("rank")["image_id"].tolist() and page.whole == 8
    assert page.table["selected"].all() and set(page.table["class"]) == {"cat"}
    assert not inspect.pseudo_labels(root, "pets", class_name="cat").table["selected"].all()


def test_pages_join_to_the_whole_table(root: Path) -> None:
    whole = inspect.pseudo_labels(root, "pets")
    pages = [inspect.pseudo_labels(root, "pets", rows=25, offset=offset) for offset in (0, 25, 50)]
    assert len(whole.table) == whole.whole == 60
    pd.testing.assert_frame_equal(pd.concat([page.table for page in pages], ignore_index=True), whole.table)
    assert inspect.pseudo_labels(root, "pets", offset=1000).table.empty


def test_descriptions_come_with_what_speaks_against_them(root: Path) -> None:
    one = inspect.descriptions(root, "pets", class_name="dog & <wolf>").table
    assert one[["text", "margin", "note"]].values.tolist() == [["It looks like dog & <wolf>.", 0.2, "closer to cat"]]
    assert inspect.descriptions(root, "pets").table["margin"].tolist() == [0.3, 0.2, 0.4]


def test_descriptions_that_were_never_judged_are_not_dropped(root: Path) -> None:
    path = root / "data/pets/descriptions.parquet"
    table = pd.read_parquet(path)
    try:
        table.iloc[:0].to_parquet(path)
        assert inspect.descriptions(root, "pets").notes == ("no class descriptions; only templates are used",)
        table.assign(text=[f"Newer {number}." for number in range(len(table))]).to_parquet(path)
        newer = inspect.descriptions(root, "pets")
        assert newer.notes == ("the descriptions are newer than their scores; run the stage classify",)
        assert newer.table["text"].tolist() == ["Newer 0.", "Newer 1.", "Newer 2."]
    finally:
        table.to_parquet(path)


def test_predictions_are_those_of_the_final_method_or_the_one_named(root: Path) -> None:
    stored = pd.read_parquet(root / "data/pets/predictions.parquet")
    for method, wanted in (("nola", None), ("cde", "cde")):
        mine = stored[stored["method"] == method]
        page = inspect.predictions(root, "pets", method=wanted)
        assert page.notes == (f"predictions by {method}",)
        assert page.table["probability"].tolist() == mine["probability"].tolist()
        owls = inspect.predictions(root, "pets", method=wanted, class_name="OWL")
        assert ids_of(owls) == mine.loc[mine["class_id"] == 2, "image_id"].tolist()


def test_before_predict_has_run_the_class_is_the_text_classifiers(tmp_path: Path) -> None:
    write_example(
        tmp_path / "data/pets", in_force=in_force_of("nearest", "templates", final="nearest", text_classifier="templates")
    )
    path = tmp_path / "data/pets/predictions.parquet"
    predictions = path.rename(path.with_suffix(".later"))
    asked = pd.read_parquet(tmp_path / "data/pets/zero_shot.parquet")
    assert asked["method"].unique().tolist() == ["templates"] and asked["split"].unique().tolist() == ["train"]
    page = inspect.features(tmp_path, "pets", role="ssl", class_name="owl")
    assert ids_of(page) == asked.loc[asked["class_id"] == 2, "image_id"].tolist()
    predictions.rename(path)
    assert inspect.predictions(tmp_path, "pets").notes == ("predictions by nearest",)


def test_predictions_that_lack_the_final_method_are_one_sentence(tmp_path: Path) -> None:
    write_example(tmp_path / "data/pets")
    path = tmp_path / "data/pets/predictions.parquet"
    pd.read_parquet(path).query("method != 'nola'").to_parquet(path)
    with pytest.raises(NolaError, match=r"no predictions by the final method, nola; run the stage predict again\."):
        inspect.predictions(tmp_path, "pets")
    assert inspect.predictions(tmp_path, "pets", method="cde").whole == 90
    write_json(tmp_path / "data/inputs/pets.json", {"predict": {"seed": 1}})
    with pytest.raises(NolaError, match=r"pets\.json does not name the final method; `nola run` writes it anew\."):
        inspect.features(tmp_path, "pets", role="ssl")


def test_unknown_images_come_with_their_groups(tmp_path: Path) -> None:
    write_example(tmp_path / "data/pets", unnamed=True)
    path = tmp_path / "data/pets/unknown.parquet"
    stored = pd.read_parquet(path)
    stored["group"] = [1] * 12 + [None] * (len(stored) - 12)
    stored.to_parquet(path)
    page = inspect.unknown(tmp_path, "pets")
    assert page.notes == ("12 images look alike and fit none of the names.",) and page.whole == len(stored)
    assert page.table["score"].is_monotonic_decreasing
    assert sorted(ids_of(inspect.unknown(tmp_path, "pets", group=1))) == sorted(stored["image_id"][:12])
    with pytest.raises(NolaError, match=r"there is no group 2; pets has 1, numbered from 1\."):
        inspect.unknown(tmp_path, "pets", group=2)


def test_names_by_their_estimated_share(root: Path) -> None:
    page = inspect.names(root, "pets")
    assert page.whole == 3 and page.table["proportion"].is_monotonic_increasing
    assert page.notes == ("every name seems to occur",) and inspect.names(root, "pets", absent=True).whole == 0


def test_similar_images_equal_a_loop_over_all_pairs(root: Path) -> None:
    rows: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        stored = np.load(root / f"data/pets/features/ssl/{split}/features.npy").astype(np.float64)
        index = pd.read_parquet(root / f"data/pets/features/ssl/{split}/index.parquet")
        rows |= dict(zip(index["image_id"], stored / np.linalg.norm(stored, axis=1, keepdims=True), strict=True))
    mine = rows.pop("pictures/065.png")
    expected = sorted(rows, key=lambda image: -float(rows[image] @ mine))[:4]
    page = inspect.similar(root, "pets", "pictures/065.png", count=4)
    assert ids_of(page) == expected
    assert page.table["similarity"].tolist() == pytest.approx([float(rows[image] @ mine) for image in expected], abs=1e-3)


def test_sheets_show_the_right_images(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def opener(*_: object) -> Callable[[str], Image.Image]:
        def open_image(image_id: str) -> Image.Image:
            asked.append(image_id)
            return image_of(image_id)

        return open_image

    monkeypatch.setattr("nola_core.datasets.opener.image_opener", opener)
    monkeypatch.chdir(tmp_path)
    out = inspect.contact_sheet(root, "pets", class_name="dog & <wolf>", count=5)
    assert out == Path("pets-dog----wolf-.png")
    table = pd.read_parquet(root / "data/pets/pseudo_labels.parquet").query("class_id == 1 and selected")
    assert asked == table.sort_values("rank")["image_id"].head(5).tolist()
    with Image.open(out) as image:
        assert image.format == "PNG"
    asked.clear()
    page = inspect.similar(root, "pets", "pictures/065.png", count=3, sheet=tmp_path / "near.png")
    assert asked == ["pictures/065.png", *ids_of(page)]
    assert (tmp_path / "near.png").is_file()


def test_a_wrong_name_is_one_sentence_with_what_there_is(root: Path) -> None:
    with pytest.raises(NolaError, match=r"has no feature store; run the stage embed with --role clip"):
        inspect.features(root, "pets", role="clip")
    with pytest.raises(NolaError, match=r"no split 'val'; there are: train, test\."):
        inspect.features(root, "pets", role="ssl", split="val")
    with pytest.raises(NolaError, match=r"there is no class 'cta'; there are: cat, dog & <wolf>, owl\."):
        inspect.pseudo_labels(root, "pets", class_name="cta")
    with pytest.raises(NolaError, match=r"no image 'pictures/0655.png'; most similar of 90: pictures/065.png"):
        inspect.similar(root, "pets", "pictures/0655.png")
    with pytest.raises(NolaError, match=r"no method 'nila'; there are: zero_shot, cde, alignment, nola\."):
        inspect.predictions(root, "pets", method="nila")


def test_a_data_set_that_has_not_been_run(root: Path, tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"there is no data set 'pet'; there are: pets\."):
        dataset_folder(root, "pet")
    with pytest.raises(NolaError, match="has no prepared data set yet; run `nola run`"):
        dataset_folder(tmp_path, "pets")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pets.yaml").write_text("{}")
    with pytest.raises(NolaError, match="pets has no results yet; run `nola run --dataset pets`"):
        dataset_folder(tmp_path, "pets")
