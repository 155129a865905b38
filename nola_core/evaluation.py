"""Metrics of the predictions against ground truth, where there is any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nola_core import files, probe
from nola_core.errors import NolaError
from nola_core.methods.method import InForce
from nola_core.prediction import Predictions, matrix
from nola_core.text import enumerated, write_spreadsheet
from nola_core.trust.guard import guard

if TYPE_CHECKING:
    from nola_core.features import FeatureStore

SPLITS = ("train", "val", "test")
SCORED = ["image_id", "class_id", "probability", "top_classes"]
"""What is read of a prediction table."""


@dataclass(frozen=True)
class Evaluation:
    """What the stage `evaluate` writes; docs/formats.md gives the keys and the columns."""

    metrics: dict[str, Any]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    accuracy: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write metrics.json, per_class.csv and plots/*.csv under `folder`, each atomically."""
        files.write_json(folder / "metrics.json", self.metrics)
        tables = {
            "per_class.csv": self.per_class,
            "plots/accuracy.csv": self.accuracy,
            "plots/confusion.csv": self.confusion,
            "plots/reliability.csv": self.reliability,
        }
        for name, table in tables.items():
            with files.replacing(folder / name) as scratch:
                write_spreadsheet(scratch, table, float_format="%.6f")


def evaluate(
    *,
    dataset: str,
    in_force: InForce,
    manifest: pd.DataFrame,
    classes: pd.DataFrame,
    labels: pd.DataFrame,
    predictions: Predictions,
    pseudo_labels: pd.DataFrame,
    label_free: dict[str, Any],
    ssl_features: Callable[[str], FeatureStore] | None,
    bins: int,
    neighbors: int,
    audit: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Score every method in force on every split, the pseudo-labels and the SSL features.

    Only labelled images count; `labelled` says how many of the reported split's `images` (the readable ones) those are.
    The reported split is `test` if it has a readable image, else `train`. Without any label the metrics that need one
    and the plots are empty; `per_class` still tells how often each method predicts each class.

    Args:
        dataset: its name.
        in_force: the methods, in the order of all tables.
        manifest: `image_id, split, ok`.
        classes: `class_id, name`.
        labels: `image_id, class_id`; may be empty.
        predictions: one row for every readable image and method in force; read one split and method at a time.
        pseudo_labels: `image_id, class_id, selected`.
        label_free: content of label_free.json; copied, with the guard's `warning` beside a student's scores.
        ssl_features: opens the SSL feature store of a split, for the k-nearest-neighbour probe; None leaves it out.
        bins: of the calibration error.
        neighbors: k of the probe.
        audit: what a person measured (`trust.answers.measured`); copied.

    Raises:
        NolaError: a label or a prediction names an unknown image or class, a method leaves out images of a split, or the
            predictions are of other methods than those in force.
    """
    truth = check_labels(labels, manifest, classes)
    readable = manifest.loc[manifest["ok"].astype(bool), ["image_id", "split"]]
    split = reported_split(manifest)
    predicted = _predicted_splits(predictions, split, in_force)
    count = len(classes)

    splits: dict[str, dict[str, dict[str, float]]] = {}
    per_class: list[pd.DataFrame] = []
    reliability: list[pd.DataFrame] = []
    confusion = pd.DataFrame(columns=["image_id", "actual", "predicted"])
    agreement: dict[str, float] = {}
    for name in predicted:
        images = readable.loc[readable["split"] == name, "image_id"]
        places, truth_here = pd.Index(images), truth_of(images, truth)
        product = np.empty(len(images) if name == split else 0, dtype=np.int64)
        if name == split:
            group = predictions.read(name, in_force.final, SCORED)
            product[_places(group, places, name, in_force.final, classes)] = group["class_id"]
        for method in in_force.names:
            group = predictions.read(name, method, SCORED)
            here = _places(group, places, name, method, classes)
            actual = truth_here[here]
            if name == split:
                agreement[method] = float((group["class_id"].to_numpy() == product[here]).mean())
            known, actual = group[actual >= 0], actual[actual >= 0]
            per_class.append(_per_class(name, method, group, known, actual, classes))
            if name == split and method == in_force.final:
                confusion = _confusion(known, actual, classes)
            if known.empty:
                continue
            splits.setdefault(name, {})[method] = score(known, actual, count, bins)
            if name == split:
                table = reliability_table(known["probability"].to_numpy(), known["class_id"].to_numpy() == actual, bins)
                table.insert(0, "method", method)
                reliability.append(table)

    in_split = readable.loc[readable["split"] == split, "image_id"]
    metrics = {
        "dataset": dataset,
        "split": split,
        "protocol": "inductive" if split == "test" else "transductive",
        "in_force": in_force.values(),
        "images": len(in_split),
        "labelled": int((truth_of(in_split, truth) >= 0).sum()),
        "classes": count,
        "audit": audit,
        "methods": splits.get(split, {}),
        "splits": splits,
        "agreement": agreement,
        "pseudo_labels": score_pseudo_labels(pseudo_labels, readable, classes, truth),
        "probes": _probes(ssl_features, readable, truth, split, neighbors),
        "label_free": _guarded(label_free, in_force),
    }
    accuracy = [(name, method, scores["top1"]) for name, methods in splits.items() for method, scores in methods.items()]
    return Evaluation(
        metrics=metrics,
        per_class=_stack(per_class, ["split", "method", "class_id", "class", "images", "accuracy", "predicted"]),
        confusion=confusion,
        reliability=_stack(reliability, ["method", "bin", "confidence", "accuracy", "images"]),
        accuracy=pd.DataFrame(accuracy, columns=["split", "method", "top1"]),
    )


def reported_split(manifest: pd.DataFrame) -> str:
    """`test` if a readable image belongs to it, else `train`."""
    return "test" if bool(((manifest["split"] == "test") & manifest["ok"].astype(bool)).any()) else "train"


def read_metrics(path: Path) -> tuple[dict[str, Any], InForce]:
    """metrics.json, and the methods it is about.

    Raises:
        NolaError: it is absent, damaged, or of a version that did not write the methods.
    """
    metrics = files.read_json(path)
    try:
        return metrics, InForce.of(metrics["in_force"])
    except (KeyError, TypeError):
        raise NolaError(f"{path} does not say which methods it is about: run the stage evaluate again.") from None


def check_labels(labels: pd.DataFrame, manifest: pd.DataFrame, classes: pd.DataFrame) -> pd.Series[int]:
    """Ground truth as class ids (int64) indexed by image id; may be empty.

    Raises:
        NolaError: an image or class that does not exist, or an image labelled twice.
    """
    truth = pd.Series(labels["class_id"].to_numpy(dtype=np.int64), index=pd.Index(labels["image_id"].astype(str)))
    twice = truth.index[truth.index.duplicated()]
    if len(twice):
        raise NolaError(f"labels.parquet labels {enumerated(twice)} more than once: keep one row an image.")
    unknown = truth.index.difference(pd.Index(manifest["image_id"]))
    if len(unknown):
        raise NolaError(f"labels.parquet names images that manifest.parquet does not have: {enumerated(unknown)}.")
    strange = sorted(set(truth) - set(classes["class_id"]))
    if strange:
        raise NolaError(
            f"labels.parquet names class ids that classes.parquet does not have: {enumerated(strange)} "
            f"(its {len(classes)} classes are 0 to {len(classes) - 1})."
        )
    return truth


def truth_of(image_ids: Sequence[str] | pd.Series[str] | pd.Index[Any], truth: pd.Series[int]) -> np.ndarray:
    """Class ids int64 [n] of some images, -1 for those without ground truth."""
    return np.append(truth.to_numpy(), -1)[truth.index.get_indexer(pd.Index(image_ids))]


def score(predicted: pd.DataFrame, actual: np.ndarray, classes: int, bins: int) -> dict[str, float]:
    """Metrics of one method over n > 0 rows of a prediction table and their [n] actual class ids, as fractions.

    Returns:
        `top1`; `top5`: the truth is among `top_classes` (trivially 1 with five classes or fewer); `mean_per_class`:
        mean of the accuracies of the classes that have a labelled image; `ece`.
    """
    right = predicted["class_id"].to_numpy() == actual
    top = matrix(predicted["top_classes"])
    images = np.bincount(actual, minlength=classes)
    hits = np.bincount(actual, weights=right, minlength=classes)
    present = images > 0
    return {
        "top1": float(right.mean()),
        "top5": float((top == actual[:, None]).any(axis=1).mean()),
        "mean_per_class": float((hits[present] / images[present]).mean()),
        "ece": expected_calibration_error(predicted["probability"].to_numpy(), right, bins),
    }


def reliability_table(confidence: np.ndarray, right: np.ndarray, bins: int) -> pd.DataFrame:
    """Confidence [n] in [0, 1] against whether each prediction was right [n], in equal-width bins.

    Bin m of M holds the confidences in (m / M, (m + 1) / M], m from 0; confidence 0 belongs to the first.

    Returns:
        `bin, confidence, accuracy, images` of the bins that hold an image: mean confidence, fraction right, count.
    """
    confidence = confidence.astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    table = pd.DataFrame(
        {
            "bin": np.arange(bins),
            "confidence": np.bincount(place, weights=confidence, minlength=bins) / np.maximum(images, 1),
            "accuracy": np.bincount(place, weights=right, minlength=bins) / np.maximum(images, 1),
            "images": images,
        }
    )
    return table[table["images"] > 0].reset_index(drop=True)


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """ECE = sum over bins m of |B_m| / n * |accuracy(B_m) - confidence(B_m)|, in [0, 1].

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; bins as in `reliability_table`.
    """
    # Not torchmetrics: it gives the same to 1e-15 (a test compares them), but its import takes 5 s and that of this module 1 s,
    # and the reliability diagram needs the table of bins anyway.
    table = reliability_table(confidence, right, bins)
    gap = (table["accuracy"] - table["confidence"]).abs()
    return float((gap * table["images"]).sum() / table["images"].sum())


def score_pseudo_labels(
    pseudo_labels: pd.DataFrame, readable: pd.DataFrame, classes: pd.DataFrame, truth: pd.Series[int]
) -> dict[str, Any]:
    """Accuracy and coverage of the selected pseudo-labels.

    Overall coverage = selected / readable train images. A class's coverage counts labelled images alone: those selected
    for the class / those that truly belong to it (above 1: the class claims more than it has). Accuracy = right /
    labelled, among the selected. What has no labelled image to count is left out.
    """
    selected = pseudo_labels[pseudo_labels["selected"].astype(bool)]
    train = readable.loc[readable["split"] == "train", "image_id"]
    actual = truth_of(selected["image_id"], truth)
    known, actual = selected[actual >= 0], actual[actual >= 0]
    right = known["class_id"].to_numpy() == actual
    result: dict[str, Any] = {"selected": len(selected), "candidates": len(pseudo_labels)}
    if len(known):
        result["accuracy"] = float(right.mean())
    result["coverage"] = len(selected) / max(1, len(train))

    belonging = np.bincount(truth_of(train, truth) + 1, minlength=len(classes) + 1)[1:]
    chosen, mine, hits = (
        np.bincount(ids, minlength=len(classes)) for ids in (selected["class_id"], known["class_id"], known["class_id"][right])
    )
    per_class: dict[str, dict[str, float | int]] = {}
    for class_id, name in zip(classes["class_id"], classes["name"], strict=True):
        entry: dict[str, float | int] = {"selected": int(chosen[class_id])}
        if mine[class_id]:
            entry["accuracy"] = float(hits[class_id] / mine[class_id])
        if belonging[class_id]:
            entry["coverage"] = float(mine[class_id] / belonging[class_id])
        per_class[str(name)] = entry
    result["classes"] = per_class
    return result


def _probes(
    ssl_features: Callable[[str], FeatureStore] | None,
    readable: pd.DataFrame,
    truth: pd.Series[int],
    split: str,
    k: int,
) -> dict[str, Any]:
    """What the SSL features themselves are worth, where labelled images allow to say it."""
    known = readable.assign(class_id=truth_of(readable["image_id"], truth))
    known = known[known["class_id"] >= 0]
    if ssl_features is None or (known["split"] == "train").sum() < 2 or not (known["split"] == split).any():
        return {}
    return {"ssl_knn": probe.ssl_knn(ssl_features, known, split=split, k=k)}


def _predicted_splits(predictions: Predictions, split: str, in_force: InForce) -> list[str]:
    """The splits that have predictions, in order of `SPLITS`; checked to hold those of the methods in force and no others."""
    keys = predictions.keys()
    found = {name: {method for one, method in keys if one == name} for name in SPLITS}
    predicted = [name for name in SPLITS if found[name]]
    if split not in predicted:
        raise NolaError(f"predictions.parquet has no row of split {split}, the one to report: run the stage predict again.")
    for name in predicted:
        missing = [method for method in in_force.names if method not in found[name]]
        others = sorted(found[name] - set(in_force.names))
        if missing or others:
            lacks = [f"has no predictions by {enumerated(missing)}"] if missing else []
            holds = [f"has predictions by {enumerated(others)}, which params.yaml does not run"] if others else []
            raise NolaError(f"predictions.parquet, split {name}, {' and '.join(lacks + holds)}. Run the stage predict again.")
    return predicted


def _places(group: pd.DataFrame, images: pd.Index[Any], split: str, method: str, classes: pd.DataFrame) -> np.ndarray:
    """Which of the split's images each prediction is of, int64 [n]; checked to cover exactly those."""
    strange = sorted(set(group["class_id"].unique()) - set(classes["class_id"]))
    if strange:
        raise NolaError(f"predictions.parquet names class ids that classes.parquet does not have: {enumerated(strange)}.")
    places = images.get_indexer(pd.Index(group["image_id"]))
    times = np.bincount(places[places >= 0], minlength=len(images))
    unknown, missing, repeated = int((places < 0).sum()), int((times == 0).sum()), int((times - 1).clip(0).sum())
    if unknown or missing or repeated:
        raise NolaError(
            f"predictions.parquet, method {method}, split {split}: {missing} of {len(images)} readable images have no "
            f"prediction, {unknown} predictions name no readable image of the split, {repeated} are repeated. "
            "Run the stage predict again."
        )
    return places


def _per_class(
    split: str, method: str, group: pd.DataFrame, known: pd.DataFrame, actual: np.ndarray, classes: pd.DataFrame
) -> pd.DataFrame:
    """Rows of per_class.csv: labelled `images` and their `accuracy`, and how many images of all are `predicted` so."""
    count = len(classes)
    images = np.bincount(actual, minlength=count)
    hits = np.bincount(actual, weights=known["class_id"].to_numpy() == actual, minlength=count)
    return pd.DataFrame(
        {
            "split": split,
            "method": method,
            "class_id": np.arange(count),
            "class": classes.sort_values("class_id")["name"].to_numpy(),
            "images": images,
            "accuracy": np.where(images > 0, hits / np.maximum(images, 1), np.nan),
            "predicted": np.bincount(group["class_id"].to_numpy(), minlength=count),
        }
    )


def _confusion(known: pd.DataFrame, actual: np.ndarray, classes: pd.DataFrame) -> pd.DataFrame:
    """`image_id, actual, predicted` (class names) of labelled images and their true class ids."""
    names = classes.sort_values("class_id")["name"].to_numpy()
    columns = {
        "image_id": known["image_id"].to_numpy(),
        "actual": names[actual],
        "predicted": names[known["class_id"].to_numpy()],
    }
    return pd.DataFrame(columns)


def _guarded(scores: dict[str, Any], in_force: InForce) -> dict[str, Any]:
    """The label-free scores with `warning` beside every student that fell below the teacher."""
    guarded = {split: dict(by_method) for split, by_method in scores.items()}
    students = [one for one in in_force.methods if one.kind == "student"]
    for by_method in guarded.values():
        for one in students:
            if {one.name, in_force.teacher} <= set(by_method):
                warning = guard(by_method[one.name], by_method[in_force.teacher], title=one.title)
                if warning:
                    by_method[one.name] = {**by_method[one.name], "warning": warning}
    return guarded


def _stack(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
