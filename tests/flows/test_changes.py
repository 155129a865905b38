"""What is out of date, in words, against a real DVC repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.changes import differences, label, pending
from nola_core import inputs
from nola_core.durations import record
from nola_core.errors import NolaError
from nola_core.files import read_json, read_table
from tests.project import ROOT, change, make_project, run, write_definition
from tests.tiny import write_photos


def dvc(root: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words, "-q"], cwd=root, check=True)


def reasons(root: Path, **options: Any) -> dict[str, tuple[str, ...]]:
    return {one.stage.address: one.reasons for one in pending(root, **options)[1]}


def test_each_kind_of_change_has_its_words(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="", leaves="")
    dvc(root, "repro", "select@digits")
    record(root, "select@digits", 90)
    unrun = ("embed@digits-ssl", "tune@digits", "evaluate@digits", "report@digits")
    assert reasons(root, datasets=["digits"]) == dict.fromkeys(unrun, ("it has not run yet",)), "what has run is not listed"

    change(root / "params.yaml", "select", "fraction", value=0.5)
    (root / "data" / "digits" / "clip.txt").write_text("another")
    graph, listed = pending(root, datasets=["digits"])
    of = {one.stage.address: one for one in listed}
    assert of["embed@digits-clip"].reasons == ("clip.txt is not what it wrote",)
    assert of["select@digits"].reasons == ("clip.txt changed", "select.fraction changed from 0.3 to 0.5")
    assert of["select@digits"].seconds == 90 and of["tune@digits"].seconds is None
    assert "prepare@digits" not in of and set(of) <= set(graph.stages) and all(one.certain for one in listed)

    (root / "data" / "digits" / "clip.txt").write_text("features")  # as it was
    change(root / "params.yaml", "select", "fraction", value=0.3)
    (root / "src" / "digits.txt").write_text("well again")
    found = reasons(root)
    assert found["prepare@digits"] == ("src/digits.txt changed",)
    assert found["embed@digits-clip"] == ("if the output of prepare changes",)
    assert found["select@digits"] == ("if the output of embed clip changes",)
    assert found["prepare@leaves"] == ("it has not run yet",)
    with pytest.raises(NolaError, match="no data set 'birds'"):
        pending(root, datasets=["birds"])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real project after `prepare`, with the real inputs; its other outputs are made up and committed to DVC."""
    root = make_project(tmp_path_factory.mktemp("original"), photos=6)
    shutil.copy(ROOT / "data" / "dvc.yaml", root / "data" / "dvc.yaml")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    kept = {name: stages[name] for name in ("prepare", "embed", "select", "tune")}
    for stage in (kept["select"]["do"], kept["tune"]["do"]):
        stage["deps"], stage["outs"] = ["data/${item}/manifest.parquet"], [stage["outs"][0]]
        stage.pop("plots", None)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}, sort_keys=False))
    assert run(root, "prepare") == 0
    blobs = root / "data" / "blobs"
    table = read_table(blobs / "manifest.parquet", ["image_id"])
    for role in ("clip", "ssl"):
        (blobs / "features" / role / "train").mkdir(parents=True)
        table.to_parquet(blobs / "features" / role / "train" / "index.parquet")
    (blobs / "fitted").mkdir()
    for out in ("pseudo_labels.parquet", "fitted/students"):
        (blobs / out).write_text("made up")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc(root, "init")
    dvc(root, "commit", "--force", "prepare@blobs", "embed@blobs-clip", "embed@blobs-ssl", "select@blobs", "tune@blobs")
    return root


@pytest.fixture
def committed(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working directory."""
    root = shutil.copytree(original, tmp_path / "project")
    monkeypatch.chdir(root)
    return root


def test_the_inputs_are_compared_as_a_run_would_write_them(committed: Path) -> None:
    root = committed
    written = (root / "data" / "inputs" / "blobs.json").read_bytes()
    assert reasons(root) == {}

    change(root / "params.yaml", "select", "fraction", value=0.3)
    change(root / "params.yaml", "nola", "epochs", value=9)
    write_photos(root / "photos" / "cat", count=5, seed=99)  # two of them are there already, under these names
    assert reasons(root) == {
        "prepare@blobs": ("3 images are new",),
        "embed@blobs-clip": ("if the output of prepare changes",),
        "embed@blobs-ssl": ("if the output of prepare changes",),
        "select@blobs": ("select.fraction changed from 0.2 to 0.3",),
        "tune@blobs": ("nola.epochs changed from 3 to 9",),
    }
    assert (root / "data" / "inputs" / "blobs.json").read_bytes() == written, "looking changes nothing"

    assert run(root, "prepare") == 0  # alone, without what follows; which writes the inputs, too
    found = reasons(root)
    assert found["embed@blobs-clip"] == found["embed@blobs-ssl"] == ("3 images are new",)
    assert found["select@blobs"] == ("manifest.parquet changed", "select.fraction changed from 0.2 to 0.3")
    shutil.rmtree(root / "photos" / "cat")
    (root / "demo" / "ssl" / "config.json").write_text((root / "demo" / "ssl" / "config.json").read_text() + "\n")
    found = reasons(root)
    assert "5 images are gone" in found["prepare@blobs"]
    assert found["embed@blobs-ssl"] == ("3 images are new", "the files of the SSL model changed")

    write_definition(root, "blobs", source="elsewhere")
    cannot = reasons(root)["prepare@blobs"][0]
    assert cannot.startswith("it cannot run: data/blobs.yaml: the source ") and cannot.endswith("correct `source`.")


def test_corrections_are_named(committed: Path) -> None:
    table = read_table(committed / "data" / "blobs" / "manifest.parquet")
    train = table.loc[table["split"] == "train", "image_id"].iloc[0]
    file = committed / "data" / "blobs.corrections.csv"
    file.write_text(f"what,name,class\nimage,{train},dog\n")
    assert reasons(committed) == dict.fromkeys(("select@blobs", "tune@blobs"), ("the corrections changed",))
    file.write_text("what,name,class\nmerge,cat,dog\n")
    assert reasons(committed)["prepare@blobs"] == ("the corrections changed",)
    change(committed / "params.yaml", "corrections", value=False)
    assert reasons(committed) == {}


def test_words_for_every_key_of_an_entry(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries are put into dvc.lock's place by changing what a run would write now."""
    now = read_json(committed / "data" / "inputs" / "blobs.json")
    now["tune"]["code"] = "0" * 16
    now["tune"]["methods"]["parts"] = {"epochs": 1}
    now["tune"]["seed"] = 1
    now["tune"]["text_classifier"] = "templates"
    now["embed"]["clip"]["precision"] = "bfloat16"
    now["embed"]["clip"]["clip"]["spec"]["model"] = "ViT-B-32"
    now["prepare"]["images"]["labels"] = "none"
    now["prepare"]["classes"] = "1" * 64
    monkeypatch.setattr(inputs, "resolve", lambda root: {"blobs": now})
    found = reasons(committed)
    assert found["tune@blobs"] == (
        "its code changed",
        "method parts comes in",
        "text_classifier changed from cde to templates",
        "seed changed from 7777 to 1",
    )
    assert found["embed@blobs-clip"] == (
        "embed.precision changed from float32 to bfloat16",
        "the CLIP model changed from local-dir:demo/clip to ViT-B-32",
    )
    assert set(found["prepare@blobs"]) == {"images.labels changed from folders to none", "the class names changed"}


@pytest.mark.parametrize(
    ("was", "became", "paths"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, []),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": 4}, [("a",), ("b", "c"), ("d",)]),
        ({"a": {"b": 1}}, {"a": [1]}, [("a",)]),
    ],
)
def test_differences_are_the_leaves(was: Mapping[str, Any], became: Mapping[str, Any], paths: list[tuple[str, ...]]) -> None:
    assert [path for path, _, _ in differences(was, became)] == paths


def test_a_role_is_told_from_a_data_set_of_that_name(make_repo: Callable[..., Path]) -> None:
    graph, _ = pending(make_repo(**{"digits": "", "digits-clip": ""}))
    labels = {address: label(stage) for address, stage in graph.stages.items()}
    assert labels["embed@digits-clip-clip"] == labels["embed@digits-clip"] == "embed clip"
    assert labels["select@digits-clip"] == "select"
