"""A method that a project keeps in `methods/<name>.py` and names in params.yaml: it is everywhere, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nola_core
from flows.cli import main as nola
from nola_core import inputs
from nola_core.errors import NolaError
from nola_core.features import FeatureStore
from nola_core.files import read_json, read_table
from tests.descriptions.llm_server import LLMServer
from tests.project import AFTER_TRUTH, CLASSES, change
from tests.stages.children import Stages

NEAREST_MEAN = '''
"""The nearest class mean of the pseudo-labelled images."""

import torch

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Section


class Options(Section):
    scale: float = 10.0


class Means(Fitted):
    spaces = ("ssl",)

    def __init__(self, means, scale):
        self.means, self.scale = means, scale

    def predict(self, features):
        return (self.scale * features["ssl"] @ self.means.T).softmax(dim=-1)

    def tensors(self):
        return {"means": self.means, "scale": torch.tensor(self.scale, dtype=torch.float64)}


class NearestMean(FeatureMethod):
    name = "nearest_mean"
    title = "Nearest mean"
    summary = "the mean features of the pseudo-labelled images"
    section = Options

    def fit(self, collection, *, options, seed):
        chosen = collection.pseudo_labels
        rows = collection.spaces["ssl"].rows(collection.positions(chosen["image_id"]))
        classes = torch.tensor(chosen["class_id"].to_numpy(dtype="int64"))
        sums = torch.zeros(len(collection.names), rows.shape[1]).index_add(0, classes, rows)
        return Means(torch.nn.functional.normalize(sums, dim=-1), options.scale)

    def restore(self, tensors):
        return Means(tensors["means"], float(tensors["scale"]))


METHOD = NearestMean()
'''
STAGES = ("classify", "select", "fit", "tune", "predict", *AFTER_TRUTH)


def run(stages: Stages, root: Path, *names: str) -> None:
    for stage in names:
        status, said = stages.run(root, stage)
        assert status == 0, said


def folder(root: Path) -> Path:
    return root / "data" / "blobs"


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(folder(root)).as_posix(): path.read_bytes() for path in folder(root).rglob("*") if path.is_file()}


def touched(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """What differs."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def entries(root: Path) -> dict[str, Any]:
    """Stage -> entry."""
    inputs.write(root)
    found = json.loads((root / "data" / "inputs" / "blobs.json").read_text())
    found.pop("texts")
    return found


def expected(root: Path) -> pd.Series[int]:
    """Image id -> class of the nearest mean, in float64 and image by image."""
    stores = [FeatureStore.open(path) for path in sorted((folder(root) / "features" / "ssl").iterdir())]
    ids = [image for store in stores for image in store.index["image_id"]]
    x = np.concatenate([store.features for store in stores]).astype(np.float64)
    rows = dict(zip(ids, x / np.linalg.norm(x, axis=1, keepdims=True), strict=True))
    labels = read_table(folder(root) / "pseudo_labels.parquet")
    chosen = labels[labels["selected"]]
    means = [np.sum([rows[image] for image in chosen.loc[chosen["class_id"] == c, "image_id"]], axis=0) for c in range(3)]
    return pd.Series({image: int(np.argmax([row @ m / np.linalg.norm(m) for m in means])) for image, row in rows.items()})


@pytest.fixture
def root(complete: Path, tmp_path: Path) -> Path:
    """A finished project whose params.yaml names one method more; nothing was run since."""
    root = shutil.copytree(complete, tmp_path / "p")
    (root / "methods").mkdir()
    (root / "methods" / "nearest_mean.py").write_text(NEAREST_MEAN)
    change(root / "params.yaml", "methods", value=["zero_shot", "templates", "cde", "alignment", "nearest_mean", "nola"])
    change(root / "params.yaml", "nearest_mean", value={"scale": 20.0})
    return root


def test_a_projects_method_is_in_every_table_and_nothing_else_changes(complete: Path, root: Path, stages: Stages) -> None:
    before, old = contents(root), entries(complete)
    assert touched(old, entries(root)) == {"fit", "predict", "evaluate", "report"}
    run(stages, root, *STAGES)  # all, so that what shall not change has a chance to
    made = touched(before, contents(root))
    made -= {"curve.csv"}  # which holds seconds
    assert all(name.startswith(("fitted/features/nearest_mean", "plots/", "figures/")) or "/" not in name for name in made), made
    assert {name for name in made if "/" not in name} == {
        "predictions.parquet",
        "label_free.json",
        "metrics.json",
        "per_class.csv",
        "report.html",
    }

    predictions, theirs = (read_table(folder(place) / "predictions.parquet") for place in (root, complete))
    mine = predictions[predictions["method"] == "nearest_mean"].set_index("image_id")
    assert mine["class_id"].to_dict() == expected(root).to_dict()
    others = predictions[predictions["method"] != "nearest_mean"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, theirs)

    metrics, without = (read_json(folder(place) / "metrics.json") for place in (root, complete))
    names = [one["name"] for one in metrics["in_force"]["methods"]]
    assert names == ["zero_shot", "templates", "cde", "alignment", "nearest_mean", "nola"]
    assert metrics["in_force"]["methods"][4] == {
        "name": "nearest_mean",
        "title": "Nearest mean",
        "summary": "the mean features of the pseudo-labelled images",
        "kind": "features",
    }
    labels = read_table(folder(root) / "labels.parquet").set_index("image_id")["class_id"]
    test = mine[mine["split"] == "test"]
    right = test["class_id"].to_numpy() == labels.loc[test.index].to_numpy()
    assert metrics["methods"].pop("nearest_mean")["top1"] == pytest.approx(right.mean())
    assert metrics["methods"] == without["methods"]
    page = (folder(root) / "report.html").read_text()
    assert "Nearest mean" in page and "<h4>nearest_mean</h4><dl>\n<dt>scale</dt><dd>20.0</dd>" in page
    assert "<h4>zero_shot</h4>" not in page, "which has no options"
    assert "Nearest mean" not in (folder(complete) / "report.html").read_text()


def test_it_can_teach_and_be_the_product(root: Path, stages: Stages) -> None:
    change(root / "params.yaml", "teacher", value="nearest_mean")
    change(root / "params.yaml", "final", value="nearest_mean")
    student = (folder(root) / "fitted" / "students" / "nola.safetensors").read_bytes()
    run(stages, root, "fit", "tune", "predict", *AFTER_TRUTH)
    teacher = read_table(folder(root) / "teacher.parquet").set_index("image_id")
    assert set(teacher["method"]) == {"nearest_mean"}
    assert teacher["class_id"].to_dict() == expected(root)[teacher.index].to_dict()
    assert (folder(root) / "fitted" / "students" / "nola.safetensors").read_bytes() != student
    in_force = read_json(folder(root) / "metrics.json")["in_force"]
    assert (in_force["teacher"], in_force["final"]) == ("nearest_mean", "nearest_mean")

    model = nola_core.load(folder(root) / "model")
    assert model.method == "nearest_mean" and set(model.encoders) == {"ssl"}
    predictions = read_table(folder(root) / "predictions.parquet")
    mine = predictions[predictions["method"] == "nearest_mean"]
    again = model.predict([root / "photos" / image for image in mine["image_id"]], quiet=True)
    assert again["class"].tolist() == [CLASSES[row] for row in mine["class_id"]]
    assert np.array_equal(again["probability"], mine["probability"]), "bit for bit"


def test_without_a_student_everything_runs_and_nothing_is_tuned(root: Path, stages: Stages) -> None:
    change(root / "params.yaml", "methods", value=["cde"])
    change(root / "params.yaml", "final", value="cde")
    run(stages, root, *STAGES)
    assert not list((folder(root) / "fitted" / "students").iterdir())
    assert (folder(root) / "curve.csv").read_text() == "method,epoch,loss,teacher_agreement,learning_rate,seconds\n"
    assert set(read_table(folder(root) / "predictions.parquet")["method"]) == {"cde"}
    metrics = read_json(folder(root) / "metrics.json")
    assert set(metrics["methods"]) == {"cde"} and [one["name"] for one in metrics["in_force"]["methods"]] == ["cde"]
    assert nola_core.load(folder(root) / "model").method == "cde"
    assert "Descriptions (CDE)" in (folder(root) / "report.html").read_text()


def test_latteclip_learns_from_the_captions_that_a_model_gave(
    complete: Path, tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(complete, tmp_path / "p")
    change(root / "params.yaml", "methods", value=["zero_shot", "cde", "alignment", "latteclip"])
    change(root / "params.yaml", "final", value="latteclip")
    change(root / "params.yaml", "latteclip", value={"tune": ["norms"], "epochs": 1, "learning_rate": 0.01})
    (root / "dvc.yaml").write_text("stages: {}\n")  # commands ask for one
    student = folder(root) / "fitted" / "students" / "latteclip.safetensors"
    run(stages, root, "tune")
    plain = student.read_bytes()
    monkeypatch.chdir(root)
    with LLMServer() as server:
        monkeypatch.setenv("NOLA_LLM_BASE_URL", server.url)
        assert nola(["describe", "caption", "--dataset", "blobs", "--kind", "image", "--limit", "5"]) == 0
        assert nola(["describe", "caption", "--dataset", "blobs", "--kind", "group"]) == 0
    run(stages, root, "tune", "predict", *AFTER_TRUTH)
    assert student.read_bytes() != plain
    predictions = read_table(folder(root) / "predictions.parquet")
    again = nola_core.load(folder(root) / "model").predict(
        [root / "photos" / image for image in predictions["image_id"].unique()], quiet=True
    )
    mine = predictions[predictions["method"] == "latteclip"].set_index("image_id")["probability"]
    assert np.array_equal(again["probability"], mine[predictions["image_id"].unique()]), "bit for bit"


def test_a_student_of_soft_targets_is_the_product_of_another_teacher(complete: Path, tmp_path: Path, stages: Stages) -> None:
    root = shutil.copytree(complete, tmp_path / "p")
    change(root / "params.yaml", "methods", value=["zero_shot", "cde", "evidence", "soft"])
    change(root / "params.yaml", "teacher", value="evidence")
    change(root / "params.yaml", "final", value="soft")
    change(root / "params.yaml", "soft", value={"epochs": 1, "batch_size": 8})
    run(stages, root, "fit", "tune", "predict", *AFTER_TRUTH)
    assert [path.name for path in (folder(root) / "fitted" / "students").iterdir()] == ["soft.safetensors"]
    predictions = read_table(folder(root) / "predictions.parquet")
    assert set(predictions["method"]) == {"zero_shot", "cde", "evidence", "soft"}
    assert set(read_json(folder(root) / "metrics.json")["methods"]) == {"zero_shot", "cde", "evidence", "soft"}

    model = nola_core.load(folder(root) / "model")
    assert model.method == "soft"
    mine = predictions[predictions["method"] == "soft"]
    again = model.predict([root / "photos" / image for image in mine["image_id"]], quiet=True)
    assert np.array_equal(again["probability"], mine["probability"]), "bit for bit"


def edit(root: Path, old: str, new: str) -> None:
    path = root / "methods" / "nearest_mean.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_reruns_is_what_depends_on_the_method(root: Path, stages: Stages) -> None:
    before = entries(root)
    edit(root, "class Means", "# A comment.\nclass Means")
    edit(root, "The nearest class mean", "The class mean that is nearest")
    assert touched(before, entries(root)) == set()

    edit(root, "normalize(sums", "normalize(sums + 1e-9")
    assert touched(before, entries(root)) == {"fit", "predict"}
    change(root / "params.yaml", "nearest_mean", "scale", value=30.0)
    assert touched(before, entries(root)) == {"fit", "predict", "report"}
    teacher = (folder(root) / "teacher.parquet").read_bytes()
    run(stages, root, "fit")
    assert (folder(root) / "teacher.parquet").read_bytes() == teacher, "so that DVC does not tune again"

    change(root / "params.yaml", "teacher", value="nearest_mean")
    assert touched(before, entries(root)) == {"fit", "predict", "evaluate", "report"}
    run(stages, root, "fit")
    assert (folder(root) / "teacher.parquet").read_bytes() != teacher, "so that it does"

    mine = inputs.read(root, "blobs", "fit")
    inputs.check(root, "blobs", "fit", mine)
    edit(root, "1e-9", "1e-8")
    with pytest.raises(NolaError, match="the code changed since this run began, so fit keeps no result"):
        inputs.check(root, "blobs", "fit", mine)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("METHOD =", "OTHER =", "error: params.yaml: methods: methods/nearest_mean.py: it must hold its method as METHOD = ..."),
        (
            "import torch",
            "import torhc",
            "methods/nearest_mean.py cannot be loaded (ModuleNotFoundError: No module named 'torhc').",
        ),
    ],
)
def test_a_broken_method_stops_the_first_step_with_one_sentence(
    root: Path, stages: Stages, old: str, new: str, sentence: str
) -> None:
    edit(root, old, new)
    status, said = stages.run(root, "fit")
    assert status == 1 and len(said.splitlines()) == 1
    assert sentence in said.replace(f"{root}/", "")
