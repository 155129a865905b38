from __future__ import annotations

import base64
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prefect import get_client

from flows.artifacts import artifact_key, dataset_artifacts, sample_pseudo_labels
from flows.publish import fingerprint, main, publish_dataset, published
from nola_core.errors import NolaError

TRICKY = st.lists(st.sampled_from(["a", "b", "A", "0", "_", "-", " ", "é", "figure", "metrics", "per_class"]), min_size=1)
NAMES = TRICKY.map("".join)
KINDS = st.sampled_from(["metrics", "label_free", "pseudo_labels", "per_class", "summary"])


def fill(root: Path, *datasets: str) -> None:
    """The outputs of the stages, without DVC. One stands in the project."""
    for dataset in datasets:
        for stage in ("prepare", "select", "evaluate", "report"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["stages.py", stage, dataset])
                runpy.run_path(str(root / "stages.py"))


def stored(key: str) -> list[dict[str, Any]]:
    """All versions of an artifact."""
    with get_client(sync_client=True) as client:
        body = {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC", "limit": 50}
        versions: list[dict[str, Any]] = client.request("POST", "/artifacts/filter", json=body).json()
    return versions


@given(st.lists(st.tuples(NAMES, KINDS), min_size=2, max_size=30, unique=True))
def test_keys_are_valid_and_never_shared(pairs: list[tuple[str, str]]) -> None:
    keys = [artifact_key(dataset, kind) for dataset, kind in pairs]
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)
    assert len(set(keys)) == len(keys)


def test_plain_names_stay_readable() -> None:
    assert artifact_key("digits", "metrics") == "digits-metrics"
    assert artifact_key("stanford_cars", "pseudo_labels") == "stanford-cars-pseudo-labels"
    assert artifact_key("Oxford-Pets", "metrics").startswith("oxford-pets-metrics-")


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=60), st.integers(1, 40))
def test_the_sample_is_even_over_classes_and_takes_the_selected_first(rows: list[tuple[int, bool]], limit: int) -> None:
    table = pd.DataFrame(rows, columns=["class_id", "selected"])
    table["rank"] = table[::-1].groupby("class_id").cumcount() + 1  # the table is not sorted by rank
    table["image_id"] = [str(row) for row in range(len(table))]
    sample = sample_pseudo_labels(table, limit)
    assert len(sample) == min(limit, len(table))
    most = sample["class_id"].value_counts().max()
    for class_id, members in table.groupby("class_id"):
        shown = sample[sample["class_id"] == class_id]
        best = sorted(zip(~members["selected"], members["rank"], members["image_id"], strict=True))
        assert shown["image_id"].tolist() == [image for *_, image in best[: len(shown)]]
        assert len(shown) >= most - 1 or len(shown) == len(members), "a class is short only where it has no more"
    keys = list(zip(~sample["selected"], sample["class_id"], sample["rank"], strict=True))
    assert keys == sorted(keys)


@pytest.mark.usefixtures("prefect_server")
def test_publishing_after_a_plain_repro(make_repo: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = make_repo(plain="", wild="unlabelled", missing="")
    fill(root, "plain", "wild")
    assert main(["--dataset", "plain", "--dataset", "wild"]) == 0
    rows = json.loads(stored("plain-pseudo-labels")[0]["data"])
    assert len(rows) == 200 and [row["class"] for row in rows].count("one") == 50
    assert rows[0] == {
        "class": "zero",
        "image": "img000",
        "confidence": "1.000",
        "margin": "0.500",
        "rank": 1,
        "selected": "yes",
        "why": "top",
    }
    per_class = json.loads(stored("plain-per-class")[0]["data"])
    assert per_class[0] == {
        "class": "one",
        "images": 50,
        "Zero-shot": "50.0 %",
        "Alignment head": "50.0 %",
        "Nearest": "45.0 %",
        "NoLA": "50.0 %",
    }
    assert stored("plain-per-class")[0]["description"].startswith(
        "plain: accuracy of each class on the test split, lowest accuracy of Nearest first"
    )
    metrics = json.loads(stored("plain-metrics")[0]["data"])
    assert [(row["method"], row["gain"]) for row in metrics] == [
        ("Zero-shot", "+0.0"), ("Alignment head", "+10.0"), ("Nearest", "+5.0"), ("NoLA", "+12.5"),
    ]  # fmt: skip
    (summary,) = stored("plain-summary")
    assert summary["data"].startswith(
        "# plain\n\n100 images of the test split, 2 classes (inductive)\n\n**The class names say little"
    )
    assert "**Nearest classifies 55.0 % correctly**; the baseline, Zero-shot, 50.0 %." in summary["data"]
    assert "](data:image/png;base64," in summary["data"] and "data/plain/report.html`" in summary["data"]
    assert "`nola audit plain`" in summary["data"] and "not measured" not in summary["data"]
    free = json.loads(stored("wild-label-free")[0]["data"])
    assert [row["method"] for row in free] == ["Zero-shot", "NoLA"] and free[0]["neighbors ssl"] == "0.7500"
    assert "The accuracy was not measured: there is no ground truth." in stored("wild-summary")[0]["data"]
    assert stored("wild-metrics") == stored("wild-per-class") == stored("plain-label-free") == []

    capsys.readouterr()
    assert main([]) == 1
    assert len(stored("plain-pseudo-labels")) == 1, "what has not changed is not published again"
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: missing is not published: ") and "metrics.json does not exist" in error
    assert main(["--dataset", "nowhere"]) == 1
    assert "params.yaml has no such data set; it has: plain, wild, missing." in capsys.readouterr().err


def test_the_picture_fits_the_interface_and_files_must_be_there(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="", wild="unlabelled")
    fill(root, "digits", "wild")
    Image.effect_noise((1200, 800), 80).convert("RGB").save(root / "data/digits/figures/accuracy.png")
    artifacts = {artifact.key: artifact for artifact in dataset_artifacts(root, "digits")}
    assert sorted(artifacts) == [f"digits-{kind}" for kind in ("metrics", "per-class", "pseudo-labels", "summary")]
    address = artifacts["digits-summary"].data.split("base64,")[1].split(")")[0]
    assert base64.b64decode(address).startswith(b"\x89PNG") and len(address) < 300_000
    for dataset, name in (
        ("digits", "report.html"),
        ("digits", "per_class.csv"),
        ("digits", "classes.parquet"),
        ("digits", "names.json"),
        ("wild", "label_free.json"),
    ):
        copy = root / "copy"
        shutil.copytree(root / "data", copy / "data")
        (copy / "data" / dataset / name).unlink()
        with pytest.raises(NolaError, match=re.escape(name)):
            list(dataset_artifacts(copy, dataset))
        shutil.rmtree(copy)


@pytest.mark.usefixtures("prefect_server")
def test_what_was_published_is_known_by_one_request(make_repo: Callable[..., Path]) -> None:
    root = make_repo(known="", other="", unfinished="")
    fill(root, "known", "other")
    with get_client(sync_client=True) as client:
        requests: list[str] = []
        client._client.event_hooks = {"request": [lambda request: requests.append(request.url.path)]}
        assert published(client, root, ["known", "other", "unfinished"]) == set()
        assert publish_dataset(root, "known") == 4
        requests.clear()
        assert published(client, root, ["known", "other", "unfinished"]) == {"known"}
        assert len(requests) == 1
        picture = root / "data/known/figures/accuracy.png"
        Image.effect_noise((64, 48), 60).convert("RGB").save(picture)
        assert published(client, root, ["known"]) == set()
        assert publish_dataset(root, "known") == 1  # the picture is in the summary
        assert publish_dataset(root, "known") == 0
        assert published(client, root, ["known"]) == {"known"}


def test_a_fingerprint_is_of_all_that_is_published(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="")
    fill(root, "digits")
    folder = root / "data" / "digits"
    seen = {fingerprint(root, "digits")}
    for name in ("metrics.json", "label_free.json", "names.json", "pseudo_labels.parquet", "classes.parquet", "per_class.csv"):
        with (folder / name).open("ab") as file:
            file.write(b"\n")
        seen.add(fingerprint(root, "digits"))
    (folder / "figures" / "accuracy.png").rename(folder / "figures" / "other.png")
    seen.add(fingerprint(root, "digits"))
    assert len(seen) == 8 and None not in seen
    (folder / "report.html").unlink()
    assert fingerprint(root, "digits") is None
