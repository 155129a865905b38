"""The model one takes away: the pipeline's own probabilities, whatever the images come with, and after any journey."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import nola_core
from nola_core.classifier import BATCH, Classifier
from nola_core.errors import NolaError
from nola_core.files import sha256_file
from tests.project import CLASSES, change, make_project, run

STAGES = ("prepare", "describe", "embed clip", "embed ssl", "classify", "select", "fit", "tune", "predict")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("project"))
    for stage in STAGES:
        assert run(root, stage) == 0
    return root


@pytest.fixture(scope="module")
def models(project: Path) -> dict[str, Path]:
    """Method -> model folder: predict is run again with each as the final one."""
    folders = {}
    for method in ("nola", "alignment", "cde"):
        change(project / "params.yaml", "final", value=method)
        assert run(project, "predict") == 0
        folders[method] = project / "models" / method
        shutil.copytree(project / "data" / "blobs" / "model", folders[method])
    return folders


def pipelines(project: Path, method: str) -> pd.DataFrame:
    table = pd.read_parquet(project / "data" / "blobs" / "predictions.parquet")
    return table[table["method"] == method].set_index("image_id")


@pytest.mark.parametrize("method", ["nola", "alignment", "cde"])
def test_the_probabilities_are_the_pipelines_bit_for_bit(project: Path, models: dict[str, Path], method: str) -> None:
    expected = pipelines(project, method)
    model = nola_core.load(models[method])
    table = model.predict(project / "photos", quiet=True).set_index("image")
    assert set(table.index) == set(expected.index)
    expected = expected.loc[table.index]
    assert table["probability"].to_numpy().tobytes() == expected["probability"].to_numpy().tobytes()
    assert table["class"].tolist() == [CLASSES[row] for row in expected["class_id"]]
    for place in (2, 3):
        assert table[f"probability_{place}"].tolist() == [float(p[place - 1]) for p in expected["top_probabilities"]]
        assert table[f"class_{place}"].tolist() == [CLASSES[row[place - 1]] for row in expected["top_classes"]]


def test_the_student_is_as_confident_as_its_teacher_and_the_model_carries_its_temperature(
    project: Path, models: dict[str, Path]
) -> None:
    student, teacher = (pipelines(project, method).query("split == 'train'")["probability"] for method in ("nola", "alignment"))
    assert student.mean() == pytest.approx(teacher.mean(), abs=0.005)
    about = json.loads((models["nola"] / "model.json").read_text())
    assert about["temperature"] != 1 and about["temperature"] == nola_core.load(models["nola"]).fitted.temperature


@pytest.mark.parametrize("method", ["nola", "alignment"])
def test_an_image_is_predicted_alike_alone_in_any_order_and_opened(project: Path, models: dict[str, Path], method: str) -> None:
    model = nola_core.load(models[method])
    paths = sorted((project / "photos").rglob("*.png"))
    together = model.probabilities(paths)
    assert together.dtype == torch.float32 and together.shape == (len(paths), len(CLASSES))
    assert torch.equal(model.probabilities(reversed(paths)), together.flip(0))
    for row in (0, 7, 23):
        assert torch.equal(model.probabilities(paths[row])[0], together[row])
        with Image.open(paths[row]) as image:
            assert torch.equal(model.probabilities(image)[0], together[row])


def test_it_travels(project: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder, no project around it, the weights referenced or taken along: the same bits."""
    expected = nola_core.load(models["alignment"]).probabilities(project / "photos")
    saved = nola_core.load(models["alignment"]).save(tmp_path / "alone" / "with", include_weights=True)
    nola_core.load(models["alignment"]).save(tmp_path / "alone" / "without")
    monkeypatch.chdir(tmp_path)
    shutil.move(saved, tmp_path / "elsewhere")
    assert torch.equal(nola_core.load("elsewhere").probabilities(project / "photos"), expected)
    again = nola_core.load("elsewhere").save(tmp_path / "again", include_weights=True)
    assert torch.equal(nola_core.load(again).probabilities(project / "photos"), expected)
    assert torch.equal(nola_core.load("alone/without", root=project).probabilities(project / "photos"), expected)
    with pytest.raises(NolaError, match=r"the \w+ weights of the model alone/without cannot be loaded: .* does not exist"):
        nola_core.load("alone/without")


def test_predicting_does_not_touch_the_collection(project: Path, models: dict[str, Path], tmp_path: Path) -> None:
    nola_core.load(models["nola"]).save(tmp_path / "model", include_weights=True)
    away = project.rename(project.with_name("away"))
    try:
        table = nola_core.load(tmp_path / "model").predict(away / "photos" / "cat", quiet=True)
    finally:
        away.rename(project)
    assert table["class"].notna().all()


def test_a_broken_image_is_one_row_with_its_reason(project: Path, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes((project / "photos" / "cat" / "000.png").read_bytes()[:60])
    good = project / "photos" / "cat" / "000.png"
    model = nola_core.load(models["alignment"])
    table = model.predict([tmp_path / "torn.png", good, tmp_path / "none.png"], quiet=True)
    assert table["image"].tolist() == [str(tmp_path / "torn.png"), str(good), str(tmp_path / "none.png")]
    assert table["class"].isna().tolist() == table["probability"].isna().tolist() == [True, False, True]
    assert table["reason"].notna().tolist() == [True, False, True] and "No such file" in table["reason"][2]
    assert table["probability"][1] == model.predict(good, quiet=True)["probability"][0]
    none = model.predict(tmp_path / "none.png", quiet=True)
    assert list(none.columns) == list(table.columns) and none["class"].isna().all()
    assert list(model.predict([], quiet=True).columns) == list(table.columns)
    with pytest.raises(NolaError, match=r"image '.*none\.png' cannot be used: No such file"):
        model.probabilities([good, tmp_path / "none.png"])


def test_thousands_of_images_are_streamed_in_bounded_memory(models: dict[str, Path]) -> None:
    model = nola_core.load(models["alignment"])
    given, ahead = 0, 0

    def images(count: int) -> Iterator[Image.Image]:
        nonlocal given
        for number in range(count):
            given += 1
            yield Image.new("RGB", (32, 32), (number % 256, number // 256 % 256, 0))

    tracemalloc.start()
    rows, peaks = 0, []
    for table in model.stream(images(2_500)):
        rows += len(table)
        ahead = max(ahead, given - rows)
        if rows % (10 * BATCH) < len(table):
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
    tracemalloc.stop()
    assert rows == given == 2_500
    assert ahead <= 3 * BATCH
    assert max(peaks[1:]) < 1.5 * peaks[0]  # what is held does not grow


def test_what_the_folder_says(project: Path, models: dict[str, Path]) -> None:
    about = json.loads((models["nola"] / "model.json").read_text())
    assert about["classes"] == list(CLASSES) and about["method"] == "nola" and about["preset"] == "paper"
    assert about["templates"] == ["a photo of a {}.", "a drawing of a {}."] and about["measured"] is None
    assert set(about["backbones"]) == {"clip"} and len(about["backbones"]["clip"]["weights_sha256"]) == 64
    described = json.loads((models["nola"] / "descriptions.json").read_text())
    assert described["cat"] == ["a cat of kind 1", "a cat of kind 2"]
    page = (models["nola"] / "README.md").read_text()
    assert page.startswith("---\nlibrary_name:") and "has not been measured" in page and "nola_core.load" in page
    assert set(about["files"]) == {"method.safetensors", "descriptions.json"}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model.json").unlink(), "is no model: it has no model.json"),
        (lambda folder: rewrite(folder, format=2), "has the format 2, written by NoLA .*; make the model again"),
        (lambda folder: rewrite(folder, zzz=1), "unknown key 'zzz'"),
        (lambda folder: rewrite(folder, method="astrology"), "there is no method 'astrology'"),
        (lambda folder: rewrite(folder, files={"../x": "0"}), "outside of the folder"),
        (lambda folder: rewrite(folder, files={}), "does not list method.safetensors"),
        (lambda folder: (folder / "method.safetensors").unlink(), "incomplete: method.safetensors is missing"),
        (lambda folder: flip(folder / "method.safetensors"), "method.safetensors is not the file that was written"),
        (lambda folder: flip(folder / "descriptions.json"), "descriptions.json is not the file that was written"),
        (lambda folder: other_method(folder), "is of the method alignment, not of cde"),
        (lambda folder: other_weights(folder), "was made with other ssl weights than .* has here"),
    ],
)
def test_a_folder_that_is_not_what_was_written_is_refused_in_a_sentence(
    models: dict[str, Path], project: Path, tmp_path: Path, spoil: object, sentence: str
) -> None:
    folder = shutil.copytree(models["alignment"], tmp_path / "model")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(NolaError, match=sentence) as error:
        nola_core.load(folder, root=project)
    assert "\n" not in str(error.value)


def rewrite(folder: Path, **values: object) -> None:
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**about, **values}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_method(folder: Path) -> None:
    rewrite(folder, method="cde", options={"texts": "both"})


def other_weights(folder: Path) -> None:
    about = json.loads((folder / "model.json").read_text())
    about["backbones"]["ssl"]["weights_sha256"] = "0" * 64
    rewrite(folder, backbones=about["backbones"])


def test_saving_overwrites_a_model_and_nothing_else(models: dict[str, Path], tmp_path: Path) -> None:
    model = nola_core.load(models["cde"])
    model.save(tmp_path / "model")
    before = sha256_file(tmp_path / "model" / "method.safetensors")
    model.save(tmp_path / "model")
    assert sha256_file(tmp_path / "model" / "method.safetensors") == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(NolaError, match="thesis exists and is no model"):
        model.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_the_front_door_shows_what_there_is() -> None:
    assert set(dir(nola_core)) == {"adapt", "Classifier", "load", "methods", "__version__"}
    assert nola_core.Classifier is Classifier and "nola" in nola_core.methods.names()
    assert nola_core.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="it has Classifier, __version__, adapt, load, methods"):
        _ = nola_core.predict
