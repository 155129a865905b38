"""Every format, read back by the tool it is for or by its published schema."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from nola_core.errors import NolaError
from nola_core.exports.cleanlab import whole
from nola_core.exports.formats import FORMATS, export
from nola_core.exports.predicted import Predicted
from nola_core.text import as_written
from tests.exports.made import HOSTILE, NAMES, finished, pets, picture

NUMBER = {image_id: number for number, image_id in enumerate([*HOSTILE, "torn.png", "last.png"])}
"""Image id -> which picture it is."""


@pytest.fixture
def answers(tmp_path: Path) -> dict[str, np.ndarray]:
    return pets(tmp_path)


def best(answers: dict[str, np.ndarray], image_id: str) -> str:
    return NAMES[int(answers[image_id].argmax())]


def test_a_table_has_every_image_in_the_order_of_its_split(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    assert export(tmp_path, "pets", to="parquet", out=tmp_path / "out.parquet") == 9
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["image"].tolist() == [i for split in (0, 1) for i, n in NUMBER.items() if n % 2 == split]
    assert table["split"].tolist() == ["train"] * 5 + ["test"] * 4
    for row in table.itertuples():
        if row.image == "torn.png":
            assert row.reason == "torn" and pd.isna(row[3]) and np.isnan(row.probability)
            continue
        order = np.argsort(-answers[row.image], kind="stable")[:5]
        assert [row[3], row.class_2, row.class_3, row.class_4, row.class_5] == [NAMES[place] for place in order]
        assert [row.probability, row.probability_5] == answers[row.image][order[[0, 4]]].tolist() and pd.isna(row.reason)


def test_no_cell_of_a_csv_starts_a_formula_and_the_names_come_back(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    export(tmp_path, "pets", to="csv", out=tmp_path / "out.csv", method="zero_shot")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 10 and not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
    table = as_written(pd.read_csv(tmp_path / "out.csv", keep_default_na=False))
    assert set(table["image"]) == set(NUMBER) and set(table["class"]) <= {*NAMES, ""}
    other = Predicted.open(tmp_path, "pets", "zero_shot")
    assert table["class"].tolist() == [
        NAMES[c] if c >= 0 else "" for s in other.splits() for p in other.pieces(s) for c in p.classes[:, 0]
    ]


def test_an_id_of_ten_thousand_characters(tmp_path: Path) -> None:
    finished(tmp_path, ids={"@" + "ש" * 10_000: "train"}, files=False)
    for to in ("csv", "parquet"):
        export(tmp_path, "pets", to=to, out=tmp_path / f"out.{to}")
    assert pd.read_parquet(tmp_path / "out.parquet")["image"][0] == "@" + "ש" * 10_000
    assert pd.read_csv(tmp_path / "out.csv")["image"][0] == "'@" + "ש" * 10_000


@pytest.mark.parametrize("link", [False, True])
def test_torchvision_reads_the_imagefolder(tmp_path: Path, answers: dict[str, np.ndarray], link: bool) -> None:
    from torchvision.datasets import ImageFolder

    out = tmp_path / "out"
    assert export(tmp_path, "pets", to="imagefolder", out=out, link=link) == 8
    shown = as_written(pd.read_csv(out / "predictions.csv", keep_default_na=False)).set_index("image")
    class_of = as_written(pd.read_csv(out / "classes.csv")).set_index("folder")["class"]
    assert class_of.tolist() == NAMES and len({folder.casefold() for folder in class_of.index}) == len(NAMES)
    for split in ("train", "test"):
        for path, label in (read := ImageFolder(str(out / split))).samples:
            (image_id,) = shown.index[shown["file"] == Path(path).relative_to(out).as_posix()]
            assert class_of[read.classes[label]] == best(answers, image_id) == shown.loc[image_id, "class"]
            assert Path(path).is_symlink() == link
            assert Path(path).read_bytes() == (tmp_path / "photos" / image_id).read_bytes()
    assert shown.loc["torn.png", "file"] == "" and shown.loc["torn.png", "reason"] == "torn"
    assert shown.loc["noend", "file"].endswith(".jpg")


def test_datasets_reads_the_hugging_face_folder(
    tmp_path: Path, answers: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    assert export(tmp_path, "pets", to="huggingface", out=out) == 8
    read = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in read.items()} == {"train": 5, "test": 3}
    for part in read.values():
        assert part.features["prediction"].names == NAMES
        for row in part:
            expected = answers[row["image_id"]]
            assert NAMES[row["prediction"]] == best(answers, row["image_id"]) and row["prediction"] == row["top_predictions"][0]
            assert row["top_probabilities"] == np.sort(expected)[::-1][:5].tolist() and row["probability"] == float(
                expected.max()
            )
            red, green, blue = row["image"].convert("RGB").getpixel((0, 0))
            assert abs(red - NUMBER[row["image_id"]]) < 3 and abs(green - 7) < 3 and abs(blue - 9) < 3


def test_label_studio_tasks_fit_their_interface_and_their_images(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    out = tmp_path / "o u't"
    assert export(tmp_path, "pets", to="label-studio", out=out) == 8
    view = ElementTree.parse(out / "interface.xml").getroot()
    choices = view.find("Choices")
    assert choices is not None and view.find("Image").attrib == {"name": "image", "value": "$image"}  # type: ignore[union-attr]
    assert choices.attrib == {"name": "class", "toName": "image", "choice": "single"}
    assert [choice.attrib["value"] for choice in choices] == NAMES
    tasks = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["image_id"] for task in tasks] == [
        i for s in (0, 1) for i, n in NUMBER.items() if n % 2 == s and i != "torn.png"
    ]
    for task in tasks:
        url = urlsplit(task["data"]["image"])
        (below,) = parse_qs(url.query)["d"]
        assert url.path == "/data/local-files/" and not url.fragment
        image_id = task["data"]["image_id"]
        assert (out / below).read_bytes() == (tmp_path / "photos" / image_id).read_bytes()
        ((prediction),) = task["predictions"]
        assert prediction["score"] == float(answers[image_id].max()) and prediction["model_version"].endswith("alignment")
        (result,) = prediction["result"]
        assert result == {
            "from_name": "class",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [best(answers, image_id)]},
        }
    assert str(out.absolute()).replace("'", "'\"'\"'") in (out / "README.md").read_text()


def test_fiftyone_finds_every_label_s_file(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    out = tmp_path / "out"
    assert export(tmp_path, "pets", to="fiftyone", out=out) == 8
    for split, count in {"train": 5, "test": 3}.items():
        read = json.loads((out / split / "labels.json").read_text(encoding="utf-8"))
        files = {path.stem: path for path in (out / split / "data").iterdir()}
        assert read["classes"] == NAMES and set(read["labels"]) == set(files) and len(files) == count
        for stem, label in read["labels"].items():
            image_id = label["attributes"]["image_id"]
            assert NAMES[label["label"]] == best(answers, image_id) and label["confidence"] == float(answers[image_id].max())
            assert files[stem].read_bytes() == (tmp_path / "photos" / image_id).read_bytes()


def test_cleanlab_finds_the_label_that_is_wrong(tmp_path: Path) -> None:
    find_label_issues = pytest.importorskip("cleanlab.filter").find_label_issues
    ids = {f"{number}.png": ("train", "test")[number % 2] for number in range(60)}
    answers = finished(tmp_path, ids=ids, names=list("abcdef"), files=False)
    labels = {image_id: int(p.argmax()) for image_id, p in answers.items() if image_id != "59.png"}
    wrong = max(labels, key=lambda image_id: answers[image_id].max())
    labels[wrong] = int(answers[wrong].argmin())
    (tmp_path / "data" / "pets" / "labels.parquet").unlink()
    pd.DataFrame({"image_id": list(labels), "class_id": list(labels.values())}).to_parquet(tmp_path / "data/pets/labels.parquet")
    out = tmp_path / "out"
    assert export(tmp_path, "pets", to="cleanlab", out=out) == 60
    given, matrix = np.load(out / "labels.npy"), np.load(out / "pred_probs.npy")
    table = pd.read_csv(out / "images.csv")
    assert table["image"].tolist() == [i for split in ("train", "test") for i in ids if ids[i] == split]
    assert (given == -1).sum() == 1 and given[table["image"] == "59.png"] == -1 and pd.isna(table["given"][59])
    assert np.allclose(matrix, [answers[image_id] for image_id in table["image"]], atol=1e-6)  # C = K + 1: nothing is shared
    known = np.flatnonzero(given >= 0)
    issues = known[find_label_issues(given[known], matrix[known], return_indices_ranked_by="self_confidence", n_jobs=1)]
    assert table["image"][issues].tolist() == [wrong] and table["given"][issues[0]] == "abcdef"[labels[wrong]]


def test_what_the_best_leave_is_shared() -> None:
    full = whole(np.array([[3, 0], [1, 2]]), np.array([[0.5, 0.3], [1.0, 0.0]]), 4)
    assert np.allclose(full, [[0.3, 0.1, 0.1, 0.5], [0, 1, 0, 0]])
    assert np.allclose(whole(np.array([[1, 0]]), np.array([[0.6, 0.4]]), 2), [[0.4, 0.6]])


def test_an_image_that_has_changed_is_named_and_nothing_is_left(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    (tmp_path / "photos" / "last.png").write_bytes(picture(99))
    for to in ("imagefolder", "huggingface", "label-studio", "fiftyone"):
        with pytest.raises(NolaError, match=r"image 'last.png' of .* has changed since the run"):
            export(tmp_path, "pets", to=to, out=tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {"data", "photos", "params.yaml"}


def test_predictions_of_other_images_are_refused(tmp_path: Path, answers: dict[str, np.ndarray]) -> None:
    path = tmp_path / "data" / "pets" / "manifest.parquet"
    manifest = pd.read_parquet(path)
    for wrong in (manifest.iloc[:-1], manifest.iloc[[2, 1, 0, *range(3, 9)]]):
        path.unlink()
        wrong.to_parquet(path)
        with pytest.raises(NolaError, match=r"predictions of the split train by alignment are .* run the stage predict again"):
            export(tmp_path, "pets", to="parquet", out=tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("to", "out", "more", "sentence"),
    [
        ("csv", "out.parquet", {}, r"out.parquet: --to csv writes a file whose name ends in .csv"),
        ("parquet", "folder.parquet", {}, "folder.parquet is a folder; name a file"),
        ("cleanlab", "photos", {}, "photos exists already; --to cleanlab writes a new folder"),
        ("fiftyone", "params.yaml", {}, "params.yaml exists already"),
        ("csv", "out.csv", {"link": True}, r"--link goes with .*\(imagefolder, label-studio, fiftyone\); csv does not"),
        ("csv", "out.csv", {"method": "nola"}, "no method that predicted 'nola'; there are: zero_shot, alignment"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, answers: dict[str, np.ndarray], to: str, out: str, more: dict[str, object], sentence: str
) -> None:
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(NolaError, match=sentence):
        export(tmp_path, "pets", to=to, out=tmp_path / out, **more)  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are read as they are asked for: the first is there long before the last row group is opened."""
    monkeypatch.setattr("nola_core.exports.predicted.ROWS", 10)
    finished(tmp_path, ids={f"{number}.png": "train" for number in range(95)}, names=["a", "b"], files=False)
    sizes = [len(piece.images) for piece in Predicted.open(tmp_path, "pets").pieces("train")]
    assert sizes == [10] * 9 + [5]
    assert set(FORMATS) == {"csv", "parquet", "imagefolder", "huggingface", "label-studio", "fiftyone", "cleanlab"}
