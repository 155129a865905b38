"""The stages on a tiny project, in this process: what they read, what they write, and what they never look at."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from nola_core.datasets.manifest import LABELS_SCHEMA
from nola_core.durations import durations
from nola_core.files import read_json, read_table, write_table
from tests.project import AFTER_TRUTH, CLASSES, ORDER, ROOT, TINY, change, run, write_definition
from tests.tiny import write_clip, write_photos

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def declared(stage: str, *kinds: str) -> set[str]:
    """Paths inside data/<dataset> that dvc.yaml declares for a stage."""
    name, _, role = stage.partition(" ")
    body: dict[str, Any] = STAGES[name].get("do", STAGES[name])
    found = set()
    for kind in kinds:
        for entry in body.get(kind, []):
            path = entry if isinstance(entry, str) else next(iter(entry))
            for prefix in ("data/${item}/", "data/${item.dataset}/"):
                if path.startswith(prefix):
                    found.add(path.removeprefix(prefix).replace("${item.role}", role))
    return found


def contents(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(skip)}


@pytest.fixture(scope="module")
def finished(complete: Path) -> Path:
    torch.set_num_threads(1)
    return complete


@pytest.mark.parametrize("stage", [*ORDER, *AFTER_TRUTH])
def test_a_stage_reads_its_deps_and_writes_its_outs_and_nothing_else(finished: Path, tmp_path: Path, stage: str) -> None:
    """With nothing but the declared deps in the folder it runs, and leaves nothing but the declared outs."""
    for name in ("params.yaml", "photos", "demo"):
        source = finished / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "data" / "blobs").mkdir(parents=True)
    shutil.copy(finished / "data" / "blobs.yaml", tmp_path / "data" / "blobs.yaml")
    for name in declared(stage, "deps"):
        source, target = finished / "data" / "blobs" / name, tmp_path / "data" / "blobs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    before = contents(tmp_path / "data" / "blobs")
    assert run(tmp_path, stage) == 0
    after = contents(tmp_path / "data" / "blobs")
    outs = declared(stage, "outs", "metrics", "plots")
    new = {name for name in after if after[name] != before.get(name)}
    assert {name for name in after if name not in before} == new, "a stage changes none of its deps"
    assert all(any(name == out or name.startswith(f"{out}/") for out in outs) for name in new)
    assert all((tmp_path / "data" / "blobs" / out).exists() for out in outs)
    assert not list((tmp_path / "data").rglob("*.partial"))


@pytest.mark.parametrize(
    ("stage", "dep"), [(stage, dep) for stage in (*ORDER, *AFTER_TRUTH) for dep in sorted(declared(stage, "deps"))]
)
def test_a_stage_needs_every_dep_it_declares(finished: Path, tmp_path: Path, stage: str, dep: str) -> None:
    """Without it the stage fails or writes something else; a dep that nobody misses would rerun the stage in vain."""
    shutil.copytree(finished, tmp_path / "p")
    if (stage, dep) == ("fit", "fitted/text"):
        change(tmp_path / "p" / "params.yaml", "teacher", value="templates")  # needed where the teacher is a text method
    missing = tmp_path / "p" / "data" / "blobs" / dep
    (shutil.rmtree if missing.is_dir() else Path.unlink)(missing)
    if run(tmp_path / "p", stage) == 0:
        folder = tmp_path / "p" / "data" / "blobs"
        assert contents(folder) != contents(finished / "data" / "blobs", (dep,))


def test_the_truth_changes_nothing_but_the_metrics(finished: Path, tmp_path: Path) -> None:
    """All labels turned by one class: every file before `evaluate` keeps its bytes."""
    shutil.copytree(finished, tmp_path / "p")
    folder = tmp_path / "p" / "data" / "blobs"
    labels = read_table(folder / "labels.parquet")
    labels["class_id"] = (labels["class_id"] + 1) % len(CLASSES)
    write_table(folder / "labels.parquet", labels, LABELS_SCHEMA)
    for stage in (*ORDER[1:], *AFTER_TRUTH):
        assert run(tmp_path / "p", stage) == 0
    skip = ("labels", "responses", "curve", "metrics", "per_class", "plots", "report", "figures")
    assert contents(folder, skip) == contents(finished / "data" / "blobs", skip)
    assert contents(folder)["metrics.json"] != contents(finished / "data" / "blobs")["metrics.json"]


def test_a_collection_without_truth_goes_the_same_way(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "p")
    write_definition(tmp_path / "p", "blobs", labels="none")
    for stage in (*ORDER, *AFTER_TRUTH):
        assert run(tmp_path / "p", stage) == 0
    folder = tmp_path / "p" / "data" / "blobs"
    metrics = read_json(folder / "metrics.json")
    assert metrics["methods"] == {}
    assert metrics["label_free"]["test"]["nola"]["images"] == metrics["images"]
    same = "predictions.parquet"
    assert contents(folder)[same] == contents(finished / "data" / "blobs")[same]


def test_every_image_gets_every_methods_answer(finished: Path) -> None:
    manifest = read_table(finished / "data" / "blobs" / "manifest.parquet")
    predictions = read_table(finished / "data" / "blobs" / "predictions.parquet")
    assert set(predictions["method"]) == {"zero_shot", "templates", "cde", "alignment", "nola"}
    counts = predictions.groupby("image_id")["method"].nunique()
    assert counts.to_dict() == dict.fromkeys(manifest["image_id"], 5)
    assert (predictions["split"].to_numpy() == manifest.set_index("image_id").loc[predictions["image_id"], "split"]).all()


def test_the_teacher_in_predictions_is_the_teacher_that_taught(finished: Path) -> None:
    folder = finished / "data" / "blobs"
    teacher = read_table(folder / "teacher.parquet").set_index("image_id")
    predictions = read_table(folder / "predictions.parquet")
    again = predictions[(predictions["method"] == "alignment") & (predictions["split"] == "train")].set_index("image_id")
    assert again["class_id"].to_dict() == teacher["class_id"].to_dict()


def test_a_row_group_of_predictions_holds_one_method_so_that_the_others_are_not_read(finished: Path) -> None:
    for name in ("zero_shot", "predictions"):
        metadata = pq.ParquetFile(finished / "data" / "blobs" / f"{name}.parquet").metadata
        for group in range(metadata.num_row_groups):
            for column in ("split", "method"):
                statistics = metadata.row_group(group).column(metadata.schema.names.index(column)).statistics
                assert statistics.min == statistics.max
        answered = read_table(finished / "data" / "blobs" / f"{name}.parquet")
        assert metadata.num_row_groups == len(answered.groupby(["split", "method"])), "and all of its few rows"


def test_the_report_names_the_pair_in_force(finished: Path) -> None:
    assert yaml.safe_load((finished / "params.yaml").read_text())["embed"]["backbones"] == "paper"
    shown = "<dt>backbones</dt><dd>clip model local-dir:demo/clip, ssl model local-dir:demo/ssl</dd>"
    assert shown in (finished / "data" / "blobs" / "report.html").read_text()


def test_every_stage_writes_down_its_time_and_the_report_shows_it(finished: Path) -> None:
    assert {address.partition("@")[0] for address in durations(finished)} == {
        stage.partition(" ")[0] for stage in (*ORDER, *AFTER_TRUTH)
    }
    page = (finished / "data" / "blobs" / "report.html").read_text()
    assert "embed clip" in page and "not recorded" not in page


def broken(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "p")
    return tmp_path / "p"


def says(capsys: pytest.CaptureFixture[str], root: Path, stage: str) -> str:
    """The one sentence a stage ends with."""
    capsys.readouterr()
    assert run(root, stage) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_an_unreadable_image_is_recorded_and_left_out(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = broken(finished, tmp_path)
    bad = root / "photos" / "cat" / "000.png"
    bad.write_bytes(bad.read_bytes()[:60])
    for stage in (*ORDER, *AFTER_TRUTH):
        assert run(root, stage) == 0
    manifest = read_table(root / "data" / "blobs" / "manifest.parquet").set_index("image_id")
    assert not manifest.loc["cat/000.png", "ok"]
    assert "damaged image" in str(manifest.loc["cat/000.png", "reason"])
    assert "not usable: cat/000.png: damaged image" in capsys.readouterr().out
    assert "cat/000.png" not in set(read_table(root / "data" / "blobs" / "predictions.parquet")["image_id"])
    assert "cat/000.png" in (root / "data" / "blobs" / "report.html").read_text()


def test_bad_input_is_one_sentence_that_says_what_to_do(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(finished, tmp_path)
    definition = root / "data" / "blobs.yaml"

    def with_classes(names: list[str]) -> str:
        change(definition, "classes", value=names)
        sentence = says(capsys, root, "prepare")
        change(definition, "classes", value=list(CLASSES))
        return sentence

    assert "class 2 of 3 has no name" in with_classes(["cat", " ", "bird"])
    assert "duplicate class names 'sea_bird' (class 1) and 'Sea bird' (class 3)" in with_classes(["sea_bird", "dog", "Sea bird"])
    change(definition, "images", "reader", value="folders")
    assert "images.reader = 'folders': must be 'folder', 'table'," in says(capsys, root, "prepare")
    change(definition, "images", "reader", value="folder")
    change(definition, "backbones", value="dem")
    assert "no backbone pair 'dem'; did you mean 'demo'?" in says(capsys, root, "embed clip")
    change(definition, "backbones", value=TINY)
    change(root / "params.yaml", "nola", "epochs", value=0)
    assert "nola.epochs = 0: must be greater than or equal to 1" in says(capsys, root, "tune")
    change(root / "params.yaml", "nola", "epochs", value=3)
    shutil.rmtree(root / "photos")
    assert "does not exist" in says(capsys, root, "prepare")
    (root / "photos").mkdir()
    assert "photos contains no images; NoLA looks for JPEG" in says(capsys, root, "prepare")


def test_new_clip_weights_behind_old_features_are_noticed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(finished, tmp_path)
    shutil.rmtree(root / "demo" / "clip")
    write_clip(root / "demo" / "clip", seed=8)
    assert "was made with other CLIP weights than local-dir:demo/clip has now; run embed again" in says(capsys, root, "classify")


def test_nan_features_are_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = broken(finished, tmp_path)
    path = root / "data" / "blobs" / "features" / "ssl" / "train" / "features.npy"
    features = np.load(path)
    features[:] = np.nan
    np.save(path, features)
    assert "NaN" in says(capsys, root, "fit")
    assert "NaN" in says(capsys, root, "duplicates")


def test_a_class_nobody_predicts_is_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = broken(finished, tmp_path)
    path = root / "data" / "blobs" / "zero_shot.parquet"
    table = pd.read_parquet(path)
    for column in ("top_classes", "top_probabilities"):
        table[column] = [values[:1] for values in table[column]]
    table["top_classes"] = [np.array([0], dtype=np.int32)] * len(table)
    table.to_parquet(path)
    assert run(root, "select") == 0
    assert "warning: no pseudo-label for 2 of 3 classes: 'dog', 'bird';" in capsys.readouterr().out
    change(root / "params.yaml", "select", "unpredicted", value="error")
    assert "no pseudo-label for 2 of 3 classes: 'dog', 'bird'." in says(capsys, root, "select")


def test_a_grown_collection_embeds_only_what_is_new(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = broken(finished, tmp_path)
    write_photos(root / "photos" / "more", count=20, seed=77)
    write_definition(root, "blobs", labels="none")
    assert run(root, "prepare") == 0
    assert run(root, "embed ssl") == 0
    assert "44 images in the ssl store, 20 of them embedded now" in capsys.readouterr().out


def test_without_descriptions_the_templates_stand_alone(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(finished, tmp_path)
    change(root / "data" / "blobs.yaml", "descriptions", value=None)
    for stage in ("describe", "classify"):
        assert run(root, stage) == 0
    assert "no descriptions: templates alone" in capsys.readouterr().out
    folder = root / "data" / "blobs" / "fitted" / "text"
    assert torch.equal(load_file(folder / "cde.safetensors")["weights"], load_file(folder / "templates.safetensors")["weights"])


def test_published_descriptions_are_read_as_they_are_and_separating_ones_kept(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(finished, tmp_path)
    published = {name.title() + "s": [f"A {name} of kind {kind}." for kind in range(6)] for name in CLASSES} | {"cow": ["A cow."]}
    (root / "demo" / "published.json").write_text(json.dumps(published))
    change(root / "data" / "blobs.yaml", "descriptions", value="demo/published.json")
    change(root / "params.yaml", "classify", "keep", value="separating")
    for stage in ("describe", "classify"):
        assert run(root, stage) == 0
    said = capsys.readouterr().out
    assert "matched but for case, signs or plural: 3: Cats = cat, Dogs = dog, Birds = bird" in said
    assert "names of no class, left out: 1: cow" in said
    folder = root / "data" / "blobs"
    scores = read_table(folder / "description_quality.parquet")
    assert scores["text"].tolist() == read_table(folder / "descriptions.parquet")["text"].tolist()
    kept = scores[scores["kept"]]
    assert (kept.groupby("class_id").size() >= 3).all() and 9 <= len(kept) < 18
    assert f"{len(kept) + 3 * 2} texts in the text classifier cde" in said
    features = load_file(folder / "description_features.safetensors")["features"].float()
    assert features.shape == (18, 16)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(18), atol=2e-3, rtol=0)
