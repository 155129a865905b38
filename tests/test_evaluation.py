"""Metrics against plain loops on small hand-made tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from nola_core.errors import NolaError
from nola_core.evaluation import (
    Evaluation,
    evaluate,
    expected_calibration_error,
    read_metrics,
    reliability_table,
    score,
)
from nola_core.methods.method import InForce, Kind, Listed
from nola_core.prediction import Predictions

CLASSES = pd.DataFrame({"class_id": [0, 1, 2], "name": ["cat", "dog", "owl"], "display_name": ["cat", "dog", "owl"]})


def in_force_of(*names: str, final: str, kinds: dict[str, Kind] | None = None) -> InForce:
    """Made-up methods: nothing but what is listed is known of them."""
    listed = [Listed(name, name.title(), f"what {name} does", (kinds or {}).get(name, "text")) for name in names]
    return InForce(tuple(listed), text_classifier="cde", teacher="alignment", final=final)


def manifest_of(**splits: list[str]) -> pd.DataFrame:
    rows = [(image, split, True) for split, images in splits.items() for image in images]
    return pd.DataFrame(rows, columns=["image_id", "split", "ok"])


def prediction_rows(split: str, method: str, answers: dict[str, int], probability: float = 0.8) -> pd.DataFrame:
    rows = []
    for image, class_id in answers.items():
        others = [other for other in range(3) if other != class_id]
        rest = (1 - probability) / 2
        top = [class_id, *others]
        rows.append((image, split, method, class_id, probability, probability - rest, top, [probability, rest, rest]))
    names = ["image_id", "split", "method", "class_id", "probability", "margin", "top_classes", "top_probabilities"]
    return pd.DataFrame(rows, columns=names)


def labels_of(**classes: int) -> pd.DataFrame:
    return pd.DataFrame({"image_id": list(classes), "class_id": pd.Series(list(classes.values()), dtype="int64")})


def candidates_of(*rows: tuple[str, int, bool]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["image_id", "class_id", "selected"])


class Store:
    """What `evaluate` uses of a feature store."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.vectors = vectors

    def rows(self, image_ids: list[str]) -> np.ndarray:
        rows = np.array([self.vectors[image] for image in image_ids], dtype=np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def small(**changes: Any) -> Evaluation:
    """Four train images (b is selected as cat but a dog), four test images, two methods."""
    arguments: dict[str, Any] = {
        "dataset": "pets",
        "in_force": in_force_of("zero_shot", "nola", final="nola", kinds={"nola": "student"}),
        "manifest": manifest_of(train=["a", "b", "c", "d"], test=["t", "u", "v", "w"]),
        "classes": CLASSES,
        "labels": labels_of(a=0, b=1, c=1, d=2, t=0, u=0, v=1, w=2),
        "predictions": pd.concat(
            [
                prediction_rows("test", "nola", {"t": 0, "u": 0, "v": 1, "w": 1}),
                prediction_rows("test", "zero_shot", {"t": 0, "u": 1, "v": 2, "w": 1}, probability=0.6),
                prediction_rows("train", "zero_shot", {"a": 0, "b": 0, "c": 1, "d": 2}),
                prediction_rows("train", "nola", {"a": 0, "b": 1, "c": 1, "d": 2}),
            ]
        ),
        "pseudo_labels": candidates_of(("a", 0, True), ("b", 0, True), ("c", 1, True), ("d", 2, False), ("a", 1, False)),
        "label_free": {},
        "ssl_features": None,
        "bins": 15,
        "neighbors": 1,
    }
    arguments |= changes
    return evaluate(**(arguments | {"predictions": Predictions.of(arguments["predictions"])}))


def test_metrics_of_a_table_worked_out_by_hand() -> None:
    metrics = small().metrics
    assert (metrics["dataset"], metrics["split"], metrics["protocol"]) == ("pets", "test", "inductive")
    assert (metrics["images"], metrics["labelled"], metrics["classes"]) == (4, 4, 3)
    nola = metrics["methods"]["nola"]
    assert nola["top1"] == 3 / 4
    assert nola["mean_per_class"] == pytest.approx((1 + 1 + 0) / 3)
    assert nola["ece"] == pytest.approx(abs(0.75 - 0.8))
    assert nola["top5"] == 1
    assert metrics["methods"]["zero_shot"]["top1"] == 1 / 4
    assert metrics["methods"]["zero_shot"]["mean_per_class"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert list(metrics["methods"]) == ["zero_shot", "nola"]
    assert list(metrics["splits"]) == ["train", "test"]
    assert metrics["splits"]["train"]["zero_shot"]["top1"] == 3 / 4
    assert metrics["splits"]["test"] == metrics["methods"]


def test_pseudo_label_accuracy_and_coverage() -> None:
    assert small().metrics["pseudo_labels"] == {
        "selected": 3,
        "candidates": 5,
        "accuracy": 2 / 3,
        "coverage": 3 / 4,
        "classes": {
            "cat": {"selected": 2, "accuracy": 0.5, "coverage": 2.0},
            "dog": {"selected": 1, "accuracy": 1.0, "coverage": 0.5},
            "owl": {"selected": 0, "coverage": 0.0},
        },
    }


def test_tables() -> None:
    result = small()
    assert result.accuracy.to_dict("records") == [
        {"split": "train", "method": "zero_shot", "top1": 0.75},
        {"split": "train", "method": "nola", "top1": 1.0},
        {"split": "test", "method": "zero_shot", "top1": 0.25},
        {"split": "test", "method": "nola", "top1": 0.75},
    ]
    assert set(result.confusion.itertuples(index=False, name=None)) == {
        ("t", "cat", "cat"),
        ("u", "cat", "cat"),
        ("v", "dog", "dog"),
        ("w", "owl", "dog"),
    }
    mine = result.per_class[(result.per_class["split"] == "test") & (result.per_class["method"] == "nola")]
    assert mine[["class", "images", "accuracy", "predicted"]].to_numpy().tolist() == [
        ["cat", 2, 1.0, 2],
        ["dog", 1, 1.0, 2],
        ["owl", 1, 0.0, 0],
    ]
    assert set(result.reliability["method"]) == {"zero_shot", "nola"}
    assert (result.reliability.groupby("method")["images"].sum() == 4).all()


def test_only_labelled_images_count() -> None:
    metrics = small(labels=labels_of(a=0, t=0, w=2)).metrics
    assert (metrics["images"], metrics["labelled"]) == (4, 2)
    assert metrics["methods"]["nola"]["top1"] == 0.5
    assert metrics["methods"]["nola"]["mean_per_class"] == 0.5  # dog has no labelled image and does not count as 0
    assert metrics["pseudo_labels"]["accuracy"] == 1
    assert metrics["pseudo_labels"]["classes"]["cat"] == {"selected": 2, "accuracy": 1.0, "coverage": 1.0}
    assert metrics["pseudo_labels"]["classes"]["dog"] == {"selected": 1}


def test_without_ground_truth(tmp_path: Path) -> None:
    result = small(labels=labels_of(), ssl_features=lambda split: pytest.fail("no labels, no probe"))
    assert result.metrics["methods"] == result.metrics["splits"] == result.metrics["probes"] == {}
    assert result.metrics["labelled"] == 0
    assert "accuracy" not in result.metrics["pseudo_labels"]
    assert result.metrics["pseudo_labels"]["classes"]["cat"] == {"selected": 2}
    result.write(tmp_path)
    assert (tmp_path / "plots/accuracy.csv").read_text() == "split,method,top1\n"
    assert (tmp_path / "plots/confusion.csv").read_text() == "image_id,actual,predicted\n"
    assert (tmp_path / "plots/reliability.csv").read_text() == "method,bin,confidence,accuracy,images\n"
    counts = pd.read_csv(tmp_path / "per_class.csv").query("method == 'nola' and split == 'test'")
    assert counts["predicted"].tolist() == [2, 2, 0]
    assert counts["images"].tolist() == [0, 0, 0] and counts["accuracy"].isna().all()


def test_written_files_are_what_was_computed(tmp_path: Path) -> None:
    result = small()
    result.write(tmp_path)
    result.write(tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result.metrics
    assert len(pd.read_csv(tmp_path / "plots/confusion.csv")) == 4
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {
        "metrics.json",
        "per_class.csv",
        "plots/accuracy.csv",
        "plots/confusion.csv",
        "plots/reliability.csv",
    }


def test_without_a_test_split_the_train_images_are_reported_as_transductive() -> None:
    metrics = small(
        manifest=manifest_of(train=["a", "b", "c", "d"]),
        labels=labels_of(a=0, b=1),
        in_force=in_force_of("zero_shot", final="zero_shot"),
        predictions=prediction_rows("train", "zero_shot", {"a": 0, "b": 0, "c": 1, "d": 2}),
    ).metrics
    assert (metrics["split"], metrics["protocol"]) == ("train", "transductive")
    assert metrics["methods"]["zero_shot"]["top1"] == 0.5


def test_unreadable_images_are_neither_predicted_nor_counted() -> None:
    manifest = manifest_of(train=["a", "b", "c", "d"], test=["t", "u", "v", "w", "broken"])
    manifest.loc[manifest["image_id"] == "broken", "ok"] = False
    metrics = small(manifest=manifest, labels=labels_of(t=0, broken=0)).metrics
    assert (metrics["images"], metrics["labelled"]) == (4, 1)


def test_probe_answers_held_out_images_by_the_labelled_train_images() -> None:
    stores = {
        "train": Store({"a": [1, 0], "b": [0, 1], "c": [0.1, 1], "d": [-1, 0]}),
        "test": Store({"t": [1, 0.1], "u": [0.2, 1], "v": [0, 1], "w": [-1, 0.2]}),
    }
    probes = small(ssl_features=lambda split: stores[split]).metrics["probes"]
    assert probes == {"ssl_knn": {"top1": 0.75, "neighbors": 1, "images": 4, "gallery": 4}}


def test_the_guard_is_stored_beside_every_student_and_the_input_stays_untouched() -> None:
    good = {"neighbors_ssl": 0.9, "answer_nuclear_norm": 0.9, "mean_prediction_entropy": 0.9, "images": 4}
    collapsed = good | {"mean_prediction_entropy": 0.1}
    given_scores = {
        "train": {"alignment": good, "nola": good, "zero_shot": collapsed},
        "test": {"alignment": good, "nola": collapsed, "lafter": collapsed},
        "val": {"nola": collapsed},
    }
    three = in_force_of("zero_shot", "nola", "lafter", final="nola", kinds={"nola": "student", "lafter": "student"})
    rows = pd.concat(
        prediction_rows(split, method, answers)
        for method in three.names
        for split, answers in (("train", dict.fromkeys("abcd", 0)), ("test", dict.fromkeys("tuvw", 0)))
    )
    found = small(label_free=given_scores, in_force=three, predictions=rows).metrics["label_free"]
    warned = [(split, name) for split, methods in found.items() for name, scores in methods.items() if "warning" in scores]
    assert warned == [("test", "nola"), ("test", "lafter")], "only a student, and only where its teacher has scores"
    assert found["test"]["lafter"]["warning"] == (
        "By the scores that need no labels, Lafter is worse than its teacher: "
        "the entropy of the mean prediction fell from 0.900 to 0.100."
    )
    assert "warning" not in collapsed


def test_methods_stand_in_their_order_with_what_is_known_of_them_and_the_final_one_is_the_one_named(tmp_path: Path) -> None:
    listed = in_force_of("nola", "nearest", "zero_shot", final="nearest")
    wrong = dict.fromkeys("tuvw", 1)
    rows = [prediction_rows("test", "zero_shot", wrong), prediction_rows("test", "nearest", {"t": 0, "u": 0, "v": 1, "w": 2})]
    result = small(in_force=listed, predictions=pd.concat([*rows, prediction_rows("test", "nola", wrong)]))
    assert list(result.metrics["methods"]) == ["nola", "nearest", "zero_shot"]
    assert result.metrics["methods"]["nearest"]["top1"] == 1
    assert result.per_class["method"].unique().tolist() == ["nola", "nearest", "zero_shot"]
    assert (result.confusion["actual"] == result.confusion["predicted"]).all(), "of nearest, the final method"
    assert result.metrics["in_force"]["methods"][1] == {
        "name": "nearest",
        "title": "Nearest",
        "summary": "what nearest does",
        "kind": "text",
    }
    result.write(tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == (result.metrics, listed)


def test_metrics_that_do_not_say_which_methods_they_are_about_are_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"methods": {}}')
    with pytest.raises(NolaError, match=r"metrics\.json does not say which methods it is about: run the stage evaluate again\."):
        read_metrics(tmp_path / "metrics.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": labels_of(a=0, ghost=1)}, "manifest.parquet does not have: ghost"),
        ({"labels": labels_of(a=0, b=7)}, "class ids that classes.parquet does not have: 7"),
        ({"labels": pd.concat([labels_of(a=0), labels_of(a=1)])}, "labels a more than once"),
        (
            {"manifest": manifest_of(train=["a", "b", "c", "d"], test=["t", "u", "v", "w", "x"])},
            "1 of 5 readable images",
        ),
        (
            {"manifest": manifest_of(train=["a", "b", "c", "d"], test=["t", "u", "v"]), "labels": labels_of()},
            "1 predictions name no readable",
        ),
        ({"predictions": prediction_rows("train", "nola", {"a": 0, "b": 0, "c": 0, "d": 0})}, "no row of split test"),
        (
            {
                "predictions": prediction_rows("test", "nola", {"t": 3, "u": 0, "v": 0, "w": 0}),
                "in_force": in_force_of("nola", final="nola"),
            },
            "does not have: 3",
        ),
        (
            {"in_force": in_force_of("zero_shot", "nola", "nearest", final="nola")},
            "split train, has no predictions by nearest. Run the stage predict again",
        ),
        (
            {"in_force": in_force_of("zero_shot", final="zero_shot")},
            "split train, has predictions by nola, which params.yaml does not run. Run the stage predict again",
        ),
        (
            {"predictions": prediction_rows("test", "cde", dict.fromkeys("tuvw", 0))},
            "no predictions by zero_shot, nola and has predictions by cde, which",
        ),
    ],
)
def test_tables_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NolaError, match=message):
        small(**changes)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_calibration_error_equals_the_loop_over_bins(seed: int, images: int, bins: int) -> None:
    generator = np.random.default_rng(seed)
    confidence = generator.choice([0.0, 1.0, *generator.random(5)], size=images)
    right = generator.random(images) < 0.5
    total, counted = 0.0, 0
    for m in range(bins):
        inside = [i for i in range(images) if (m < confidence[i] * bins <= m + 1) or (m == 0 and confidence[i] == 0)]
        counted += len(inside)
        if inside:
            gap = sum(right[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / images * abs(gap)
    assert counted == images
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(total)
    table = reliability_table(confidence, right, bins)
    assert table["images"].sum() == images and table["images"].min() > 0


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_calibration_error_equals_torchmetrics(seed: int, images: int, bins: int) -> None:
    """But for confidences on the very edge of two bins, which torchmetrics puts into the upper one."""
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(4, 0.5), size=images)
    actual = generator.integers(0, 4, size=images)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == actual
    ours = expected_calibration_error(confidence, right, bins)
    asked = torch.from_numpy(confidence), torch.from_numpy(right).long()
    assert ours == pytest.approx(float(binary_calibration_error(*asked, n_bins=bins)), abs=1e-12)
    several = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(actual), num_classes=4, n_bins=bins)
    assert ours == pytest.approx(float(several), abs=1e-6)  # which counts in float32


@given(st.integers(0, 10_000), st.integers(6, 9))
@settings(max_examples=30, deadline=None)
def test_scores_equal_scikit_learn(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(classes, 0.4), size=50)
    actual = generator.integers(0, classes, size=50)
    actual[:classes] = np.arange(classes)
    order = np.argsort(-p, axis=1)
    table = pd.DataFrame({"class_id": order[:, 0], "probability": p.max(axis=1), "top_classes": list(order[:, :5])})
    result = score(table, actual, classes, 15)
    assert result["top1"] == pytest.approx((order[:, 0] == actual).mean())
    assert result["top5"] == pytest.approx(top_k_accuracy_score(actual, p, k=5, labels=np.arange(classes)))
    assert result["mean_per_class"] == pytest.approx(balanced_accuracy_score(actual, order[:, 0]))
    assert result["ece"] == pytest.approx(expected_calibration_error(p.max(axis=1), order[:, 0] == actual, 15))
