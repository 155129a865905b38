"""The commands on a small finished data set: what they print, and what they say about a wrong name."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nola_core import inspect
from tests.report.example import image_of, write_example

Run = Callable[..., str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_example(root / "data/pets")
    shutil.rmtree(root / "data/pets/features/clip")
    return root


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command, expecting success; returns what it printed, one space for any run of them."""
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setattr(inspect, "image_opener", lambda *_: image_of)

    def ran(*words: str, expected: int = 0) -> str:
        code = inspect.main([*words, "--root", str(root)])
        captured = capsys.readouterr()
        assert code == expected, captured.err
        assert "Traceback" not in captured.err
        return "\n".join(" ".join(line.split()) for line in (captured.err if expected else captured.out).splitlines())

    return ran


def ids_in(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split()[:1] if word.startswith("pictures/")]


def test_features_show_a_page_with_norms_of_the_stored_rows(run: Run, root: Path) -> None:
    text = run("features", "pets", "--role", "ssl", "--split", "test", "--rows", "2", "--offset", "3")
    assert "test: 30 x 4 float16; vit_tiny, weights demo/ssl.safetensors, sha256 abababababab" in text
    stored = np.load(root / "data/pets/features/ssl/test/features.npy").astype(np.float32)
    assert ids_in(text) == ["pictures/063.png", "pictures/064.png"]
    line = next(line for line in text.splitlines() if line.startswith("pictures/063.png"))
    assert f"{np.linalg.norm(stored[3]):.3f} " + " ".join(f"{value:+.3f}" for value in stored[3]) in line
    assert "rows 4 to 5 of 30; next: --offset 5" in text


def test_features_of_a_predicted_class_never_look_at_the_truth(run: Run, root: Path) -> None:
    predictions = pd.read_parquet(root / "data/pets/predictions.parquet").query("method == 'nola' and class_id == 2")
    text = run("features", "pets", "--role", "ssl", "--class", "OWL", "--rows", "100")
    assert sorted(ids_in(text)) == sorted(predictions["image_id"])
    truth = root / "data/pets/labels.parquet"
    hidden = truth.rename(truth.with_suffix(".hidden"))
    try:
        assert run("features", "pets", "--role", "ssl", "--class", "OWL", "--rows", "100") == text
    finally:
        hidden.rename(truth)


def test_one_image(run: Run) -> None:
    assert ids_in(run("features", "pets", "--role", "ssl", "--image", "pictures/061.png")) == ["pictures/061.png"]
    assert ids_in(run("pseudo-labels", "pets", "--image", "pictures/011.png")) == ["pictures/011.png"]


def test_pseudo_labels_of_a_class_by_rank(run: Run, root: Path) -> None:
    text = run("pseudo-labels", "pets", "--class", "cat", "--selected")
    table = pd.read_parquet(root / "data/pets/pseudo_labels.parquet").query("class_id == 0 and selected")
    assert ids_in(text) == table.sort_values("rank")["image_id"].tolist()
    assert text.count("selected: among the 8 most confident") == len(table) == 8
    assert "rows 1 to 8 of 8" in text
    assert "not selected: beyond the first 8" in run("pseudo-labels", "pets", "--class", "cat", "--rows", "100")


def test_pages_join_to_the_whole_table(run: Run) -> None:
    whole = ids_in(run("pseudo-labels", "pets", "--rows", "1000"))
    pages = [ids_in(run("pseudo-labels", "pets", "--rows", "25", "--offset", str(offset))) for offset in (0, 25, 50)]
    assert len(whole) == 60
    assert [image for page in pages for image in page] == whole
    assert "no rows from 1,001 on, of 60" in run("pseudo-labels", "pets", "--offset", "1000")


def test_descriptions(run: Run, root: Path) -> None:
    text = run("descriptions", "pets", "--class", "dog & <wolf>")
    assert "It looks like dog & <wolf>." in text
    assert "owl" not in text
    whole = run("descriptions", "pets")
    assert "+0.200 It looks like dog & <wolf>. nearer to cat hand-written" in whole
    assert [word for word in whole.split() if word.startswith("+0.")] == ["+0.300", "+0.200", "+0.400"]
    path = root / "data/pets/descriptions.parquet"
    table = pd.read_parquet(path)
    table.iloc[:0].to_parquet(path)
    try:
        assert run("descriptions", "pets") == "no class descriptions: templates alone"
        table.assign(text=[f"Newer {number}." for number in range(len(table))]).to_parquet(path)
        newer = run("descriptions", "pets")
        assert "newer than their scores: run the stage classify" in newer and "Newer 0." in newer, "not judged, and not dropped"
    finally:
        table.to_parquet(path)


def test_predictions_of_a_class_and_all_of_them_as_csv(run: Run, root: Path, tmp_path: Path) -> None:
    predictions = pd.read_parquet(root / "data/pets/predictions.parquet")
    final = predictions[predictions["method"] == "nola"]
    text = run("predictions", "pets", "--class", "OWL", "--rows", "100")
    assert ids_in(text) == final.loc[final["class_id"] == 2, "image_id"].tolist()
    run("predictions", "pets", "--csv", str(tmp_path / "pets.csv"))
    table = pd.read_csv(tmp_path / "pets.csv")
    assert table.columns.tolist() == ["image_id", "split", "class", "probability"]
    assert table["image_id"].tolist() == final["image_id"].tolist()
    assert np.allclose(table["probability"], final["probability"], atol=5e-5)


def test_no_name_steers_the_terminal_or_a_spreadsheet(run: Run, root: Path, tmp_path: Path) -> None:
    path = root / "data/pets/classes.parquet"
    classes = pd.read_parquet(path)
    try:
        classes.assign(name=["=1+1", "a\x1b[2Jb", "owl"]).to_parquet(path)
        assert "a\\x1b[2Jb" in run("predictions", "pets", "--rows", "100")
        run("predictions", "pets", "--csv", str(tmp_path / "pets.csv"))
    finally:
        classes.to_parquet(path)
    assert "'=1+1" in set(pd.read_csv(tmp_path / "pets.csv")["class"])
    assert "there is no image 'a\\x1b[2Jb'" in run("predictions", "pets", "--image", "a\x1b[2Jb", expected=1)


def test_similar_images_equal_a_loop_over_all_pairs(run: Run, root: Path) -> None:
    rows: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        stored = np.load(root / f"data/pets/features/ssl/{split}/features.npy").astype(np.float64)
        index = pd.read_parquet(root / f"data/pets/features/ssl/{split}/index.parquet")
        rows |= dict(zip(index["image_id"], stored / np.linalg.norm(stored, axis=1, keepdims=True), strict=True))
    mine = rows.pop("pictures/065.png")
    expected = sorted(rows, key=lambda image: -float(rows[image] @ mine))[:4]
    text = run("similar", "pets", "pictures/065.png", "--count", "4")
    assert ids_in(text) == expected
    assert f"{expected[0]} test {float(rows[expected[0]] @ mine):.4f}" in text


def test_sheets_show_the_right_images(run: Run, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def opener(*_: object) -> Callable[[str], Image.Image]:
        def open_image(image_id: str) -> Image.Image:
            asked.append(image_id)
            return image_of(image_id)

        return open_image

    monkeypatch.setattr(inspect, "image_opener", opener)
    monkeypatch.chdir(tmp_path)
    assert run("contact-sheet", "pets", "--class", "dog & <wolf>", "--count", "5") == "pets-dog----wolf-.png"
    table = pd.read_parquet(root / "data/pets/pseudo_labels.parquet").query("class_id == 1 and selected")
    assert asked == table.sort_values("rank")["image_id"].head(5).tolist()
    with Image.open(tmp_path / "pets-dog----wolf-.png") as image:
        assert image.format == "PNG"

    asked.clear()
    text = run("similar", "pets", "pictures/065.png", "--count", "3", "--sheet", str(tmp_path / "near.png"))
    assert asked == ["pictures/065.png", *ids_in(text)]
    assert (tmp_path / "near.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features", "pet", "--role", "ssl"], "error: there is no data set 'pet'; there are: pets."),
        (["features", "pets", "--role", "clip"], "holds no feature store: run the stage embed with --role clip"),
        (["features", "pets", "--role", "ssl", "--split", "val"], "no split 'val'; there are: train, test."),
        (["pseudo-labels", "pets", "--class", "cta"], "there is no class 'cta'; there are: cat, dog & <wolf>, owl."),
        (["similar", "pets", "pictures/0655.png"], "no image 'pictures/0655.png'; nearest of 90: pictures/065.png"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_what_there_is(run: Run, words: list[str], message: str) -> None:
    assert message in run(*words, expected=1)


def test_nothing_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect.main(["descriptions", "pets", "--root", str(tmp_path)]) == 1
    assert "holds no prepared data set yet" in capsys.readouterr().err


def test_it_runs_as_a_module(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "nola_core.inspect")
    monkeypatch.setattr(sys, "argv", ["inspect", "descriptions", "pets", "--root", str(root)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("nola_core.inspect", run_name="__main__")
    assert ended.value.code == 0
    assert "It looks like owl." in capsys.readouterr().out
