"""A method is one file: everything that reads results finds it, through the real stages, with no other change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks import accuracy
from flows.artifacts import dataset_artifacts
from nola_core import inspect
from nola_core.files import read_json
from tests.project import AFTER_TRUTH, ORDER, change, make_project, run

NEAREST = """
from nola_core.methods.method import TextMethod

class Nearest(TextMethod):
    name, title, summary = "nearest", "Nearest <k>", "the last template alone"

    def texts(self, texts, options):
        return [filled[-1:] for filled in texts.templates]

METHOD = Nearest()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = make_project(tmp_path_factory.mktemp("project"), photos=12)
    (root / "methods").mkdir()
    (root / "methods" / "nearest.py").write_text(NEAREST)
    change(root / "params.yaml", "methods", value=["zero_shot", "nearest", "alignment", "nola"])
    for stage in (*ORDER, *AFTER_TRUTH):
        assert run(root, stage) == 0, stage
    return root


def test_it_is_in_predictions_metrics_report_and_tables(root: Path) -> None:
    folder = root / "data" / "blobs"
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert predictions.groupby("method", sort=False).size().to_dict() == dict.fromkeys(
        ["zero_shot", "nearest", "alignment", "nola"], 12
    )
    metrics = read_json(folder / "metrics.json")
    assert list(metrics["methods"]) == ["zero_shot", "nearest", "alignment", "nola"]
    assert "Nearest &lt;k&gt;" in (folder / "report.html").read_text()
    tables: dict[str, Any] = {one.key: json.loads(one.data) for one in dataset_artifacts(root, "blobs") if one.type == "table"}
    assert [row["method"] for row in tables["blobs-metrics"]] == ["Zero-shot", "Nearest <k>", "Alignment head", "NoLA"]
    assert "Nearest <k>" in tables["blobs-per-class"][0]
    assert inspect.predictions(root, "blobs", method="nearest").whole == 12
    assert inspect.predictions(root, "blobs").notes == ("predictions by nola",)


def test_it_is_in_the_benchmark(root: Path) -> None:
    scores = accuracy.run_seed(root, "blobs", 5, student=False)
    assert list(scores) == ["zero_shot", "nearest", "alignment", "ssl_knn"]
    assert scores["nearest"] == read_json(root / "data" / "blobs" / "metrics.json")["methods"]["nearest"]["top1"]


def test_it_can_be_the_only_one(root: Path, tmp_path: Path) -> None:
    alone = tmp_path / "project"
    shutil.copytree(root, alone)
    change(alone / "params.yaml", "methods", value=["nearest"])
    change(alone / "params.yaml", "final", value="nearest")
    for stage in ("classify", "select", "fit", "tune", "predict", *AFTER_TRUTH):
        assert run(alone, stage) == 0, stage
    assert read_json(alone / "data" / "blobs" / "metrics.json")["in_force"]["final"] == "nearest"
    page = (alone / "data" / "blobs" / "report.html").read_text()
    assert "Text method, baseline, final method: the last template alone" in page and 'href="#tuning"' not in page
