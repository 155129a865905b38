"""`nola predict`, `nola export`, `nola methods`: the model used and taken away, by its folder or by its data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.flows.commands.conftest import Nola
from tests.project import ROOT, make_project, run

STAGES = (
    "prepare",
    "describe",
    "embed clip",
    "embed ssl",
    "duplicates",
    "classify",
    "select",
    "fit",
    "tune",
    "predict",
    "evaluate",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("project"))
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "methods": ["zero_shot", "alignment"], "final": "alignment"}))
    shutil.copy(ROOT / "dvc.yaml", root)
    for stage in STAGES:
        assert run(root, stage) == 0
    return root


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_one_row_an_image_whatever_the_format(
    project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    monkeypatch.chdir(project / "photos")  # a sub-folder of the project
    mixed = shutil.copytree(project / "photos" / "cat", tmp_path / "mixed")
    (mixed / "torn.png").write_bytes(b"\x89PNG")
    (mixed / "notes.txt").write_text("no image")
    out, err = nola("predict", "blobs", str(mixed), "-o", str(tmp_path / f"out.{suffix}"))
    assert out == f"{tmp_path / f'out.{suffix}'}\n"
    assert "9 images, " in err and "1 could not be read, see the column reason" in err
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda path: pd.read_json(path, lines=True)}[suffix]
    table = read(tmp_path / f"out.{suffix}")
    assert table["image"].tolist() == [*(f"{number:03}.png" for number in range(8)), "torn.png"]
    assert table["class"].notna().tolist() == [True] * 8 + [False] and table["reason"].notna().tolist() == [False] * 8 + [True]
    stored = pd.read_parquet(project / "data" / "blobs" / "predictions.parquet").query("method == 'alignment'")
    expected = stored.set_index("image_id").loc[[f"cat/{number:03}.png" for number in range(8)], "probability"]
    assert table["probability"][:8].tolist() == pytest.approx(expected.tolist(), abs=0 if suffix == "parquet" else 1e-6)


def test_without_a_file_it_is_a_table_or_json(project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    first, second = "photos/cat/000.png", "photos/dog/001.png"
    out, err = nola("predict", "data/blobs/model", first, second)
    header, *lines = out.splitlines()
    assert header.split() == ["image", "class", "probability"] and [line.split()[0] for line in lines] == [first, second]
    assert "2 images, " in err
    rows = json.loads(nola("predict", "blobs", first, "photos/none.png", "--json")[0])
    assert [row["image"] for row in rows] == [first, "photos/none.png"] and rows[1]["class"] is None
    assert "No such file" in rows[1]["reason"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("blbos", "photos"), "there is no data set 'blbos'; there are: blobs"),
        (("blobs", "pohtos"), "pohtos does not exist"),
        (("photos", "photos"), "photos is no model: it has no model.json"),
        (("blobs", "photos", "-o", "x.xls"), "x.xls: the name must end in .parquet, .csv or .jsonl"),
        (("blobs", "data/inputs"), "data/inputs holds no image"),
    ],
)
def test_what_is_wrong_is_said(
    project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(project)
    assert sentence in nola("predict", *words, status=1)[1]


def test_a_model_that_is_taken_away_works_elsewhere_and_says_what_was_measured(
    project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    out, err = nola("export", "blobs", "-o", str(tmp_path / "taken"), "--include-weights")
    assert out == f"{tmp_path / 'taken'}\n" and err == ""
    metrics = json.loads((project / "data" / "blobs" / "metrics.json").read_text())
    about = json.loads((tmp_path / "taken" / "model.json").read_text())
    assert about["measured"]["top1"] == metrics["methods"]["alignment"]["top1"] and about["measured"]["split"] == "test"
    assert (
        f"Top-1 accuracy {about['measured']['top1']:.1%} on {metrics['labelled']}"
        in (tmp_path / "taken" / "README.md").read_text()
    )
    monkeypatch.chdir(tmp_path)  # outside of any project
    expected = json.loads(nola("predict", "taken", str(project / "photos" / "cat"), "--json")[0])
    assert len(expected) == 8 and all(row["reason"] is None for row in expected)
    assert "there is no model folder elsewhere" in nola("predict", "elsewhere", "x.png", status=1)[1]


def test_a_graph_of_a_data_set_and_of_a_folder(
    project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.undo()  # of the opener that the fixture `nola` puts in place
    monkeypatch.chdir(project)
    out, err = nola("export", "blobs", "--to", "onnx", "-o", str(tmp_path / "graph"))
    assert out == f"{tmp_path / 'graph'}\n" and "same answer as NoLA for all 24 images" in err
    nola("export", "blobs", "-o", str(tmp_path / "taken"), "--include-weights")
    monkeypatch.chdir(tmp_path)
    _, err = nola("export", "taken", "--to", "onnx", "-o", "again", "--images", str(project / "photos" / "cat"))
    assert "for all 8 images" in err
    graphs = [json.loads((tmp_path / name / "model.json").read_text()) for name in ("graph", "again")]
    assert graphs[0]["files"] == graphs[1]["files"] and graphs[0]["classes"] == ["cat", "dog", "bird"]


def test_the_methods_and_their_parts(project: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "methods").mkdir(exist_ok=True)
    rows = {row["method"]: row for row in json.loads(nola("methods", "--json")[0])}
    assert rows["alignment"]["in this project"] == "runs, teacher, final" and rows["nola"]["in this project"] == ""
    assert rows["cde"]["kind"] == "text" and rows["nola"]["kind"] == "student"
    out, _ = nola("methods")
    assert out.splitlines()[0].split() == ["method", "kind", "in", "this", "project", "summary"]
