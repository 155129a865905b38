"""The classes one by one: a row for each, and a story with pictures for those that deserve attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array

from nola_core import files
from nola_core.features import FeatureStore, normalized
from nola_core.report.album import Tile
from nola_core.report.class_means import ClassMeans, best_text, class_means, typical
from nola_core.report.gallery import tile
from nola_core.report.style import shown
from nola_core.report.tables import Tables
from nola_core.tensors import read_tensors
from nola_core.text import enumerated

STORIES = 20
"""Classes told with pictures: all where there are no more."""
ROWS = 2_000
"""Classes in the table."""
UNPREDICTED = 4
"""Stories of classes that nothing was predicted to be; there is little to tell of them."""
LIKELY = 3
LEAST = 0.005
"""Mean probability from which on another class is a likely confusion."""
CHUNK = 1 << 17
"""Images counted at once."""
TEXT = 300


@dataclass(frozen=True)
class Row:
    """One class in the table; the texts of accuracies are empty without a label.

    Attributes:
        predicted: images of the reported split that the final method predicts to be of it.
        share: of all images of the split.
        estimated: its share by the estimated class proportions.
        confidence: mean probability of those predicted; None without any.
        likely: (class, mean probability) that the same images get, the largest first.
        images: labelled ones.
        accuracy, before: of the final method and of the baseline on them; None without any.
        selected: its pseudo-labels; `selected_accuracy` of them.
        absent: whether the name seems not to occur.
    """

    class_id: int
    name: str
    predicted: int
    predicted_before: int
    share: float
    estimated: float
    confidence: float | None
    likely: list[tuple[str, float]]
    images: int
    accuracy: float | None
    before: float | None
    selected: int
    selected_accuracy: float | None
    absent: bool


@dataclass(frozen=True)
class Story:
    """A class with its pictures.

    Attributes:
        why: what deserves attention; empty where all classes are told.
        measured: what labels say of its errors; empty without one.
        text: the description that speaks most for it, and by how much; None without descriptions or images.
        tiles: its most typical images.
    """

    row: Row
    why: str
    measured: str
    text: tuple[str, float] | None
    tiles: list[Tile]


def rows(tables: Tables, proportions: pd.DataFrame) -> list[Row]:
    """One row a class, in the order of class ids.

    Args:
        proportions: class_proportions.parquet.
    """
    count = len(tables.names)
    top = tables.top
    predicted = np.bincount(top.classes[:, 0], minlength=count)
    summed = np.bincount(top.classes[:, 0], weights=top.probabilities[:, 0], minlength=count)
    likely = confusions(top.classes, top.probabilities, count)
    first, last = (_per_class(tables, method) for method in (tables.baseline, tables.final))
    pseudo = tables.metrics["pseudo_labels"]["classes"]
    by_class = proportions.sort_values("class_id")
    return [
        Row(
            class_id=class_id,
            name=shown(name),
            predicted=int(predicted[class_id]),
            predicted_before=int(before["predicted"]),
            share=predicted[class_id] / max(1, len(top.classes)),
            estimated=float(estimated),
            confidence=float(summed[class_id] / predicted[class_id]) if predicted[class_id] else None,
            likely=[(shown(tables.names[other]), value) for other, value in likely[class_id]],
            images=int(after["images"]),
            accuracy=_known(after["accuracy"]),
            before=_known(before["accuracy"]),
            selected=int(pseudo[name]["selected"]),
            selected_accuracy=_known(pseudo[name].get("accuracy")),
            absent=bool(absent),
        )
        for class_id, (name, before, after, estimated, absent) in enumerate(
            zip(tables.names, first, last, by_class["proportion"], by_class["absent"], strict=True)
        )
    ]


def confusions(
    classes: np.ndarray, probabilities: np.ndarray, count: int, *, most: int = LIKELY
) -> list[list[tuple[int, float]]]:
    """For every class the others that its images may be of: (class id, mean probability over the images predicted to be of it).

    Args:
        classes: int [n, t], most probable first.
        probabilities: float [n, t].
        count: C.
    """
    mass: csr_array = csr_array((count, count), dtype=np.float64)
    for start in range(0, len(classes), CHUNK):
        some, values = classes[start : start + CHUNK], probabilities[start : start + CHUNK]
        own = np.repeat(some[:, 0], some.shape[1] - 1)
        mass = mass + coo_array((values[:, 1:].ravel(), (own, some[:, 1:].ravel())), shape=(count, count)).tocsr()
    predicted = np.maximum(np.bincount(classes[:, 0], minlength=count), 1)
    found = []
    for class_id in range(count):
        part = slice(mass.indptr[class_id], mass.indptr[class_id + 1])
        others, means = mass.indices[part], mass.data[part] / predicted[class_id]
        first = np.lexsort((others, -means))[:most]
        found.append([(int(others[one]), float(means[one])) for one in first if means[one] >= LEAST])
    return found


def attention(found: Sequence[Row], most: int = STORIES) -> list[tuple[int, str]]:
    """(class id, why) of the classes to tell: all of a short list; else those without a prediction, of the lowest accuracy where
    labels tell, and of the lowest confidence.
    """
    if len(found) <= most:
        return [(row.class_id, "") for row in found]
    chosen: dict[int, str] = {}
    nobody = [row for row in found if not row.predicted]
    for row in sorted(nobody, key=lambda row: -row.images)[:UNPREDICTED]:
        chosen[row.class_id] = "no image is predicted to be of it"
    wrong = [row for row in found if row.accuracy is not None and row.accuracy < 1 and row.predicted]
    for row in sorted(wrong, key=lambda row: row.accuracy or 0)[: (most - len(chosen)) // 2]:
        chosen[row.class_id] = "among the lowest accuracies"
    doubted = sorted((row for row in found if row.confidence is not None), key=lambda row: row.confidence or 0)
    for row in doubted:
        if len(chosen) >= most:
            break
        chosen.setdefault(row.class_id, "among the least confident on average")
    return sorted(chosen.items())


def stories(tables: Tables, folder: Path, found: Sequence[Row], *, images: int) -> list[Story]:
    """The stories of the classes that `attention` names.

    Args:
        folder: `data/<dataset>`; reads the feature stores of the reported split, description_quality.parquet and
            description_features.safetensors.
        found: of `rows`.
        images: pictures a class.
    """
    told = attention(found)
    classes = [class_id for class_id, _ in told]
    answers = tables.answers[tables.final]
    ssl = FeatureStore.open(folder / "features" / "ssl" / tables.metrics["split"])
    pictures = typical(ssl, answers, class_means(ssl, answers, classes), images)
    texts = _texts(folder, tables, classes)
    return [
        Story(
            row=found[class_id],
            why=why,
            measured=measured(tables.confusion, tables.names[class_id]),
            text=texts[slot],
            tiles=[tile(tables, int(row), named=False) for row in tables.answers.index.get_indexer(pd.Index(pictures[slot]))],
        )
        for slot, (class_id, why) in enumerate(told)
    ]


def measured(confusion: pd.DataFrame, name: str) -> str:
    """What labels say of a class: how many of its images are predicted as what, and what else is predicted as it.

    Args:
        confusion: `actual, predicted`, class names, one row an image.
    """
    mine = confusion[confusion["actual"] == name]
    wrong = mine.loc[mine["predicted"] != name, "predicted"].value_counts()
    others = confusion.loc[(confusion["predicted"] == name) & (confusion["actual"] != name), "actual"].value_counts()
    sentences = []
    if len(mine):
        rest = f"; the others are predicted as {_some(wrong)}" if len(wrong) else ""
        sentences.append(f"Right: {len(mine) - int(wrong.sum()):,} of {len(mine):,} labelled images{rest}.")
    if len(others):
        sentences.append(f"Predicted as it, but of another class: {_some(others)}.")
    return " ".join(sentences)


def _some(counts: pd.Series[int]) -> str:
    return enumerated((f"{shown(name)} ({count:,})" for name, count in counts.items()), most=LIKELY)


def _texts(folder: Path, tables: Tables, classes: Sequence[int]) -> list[tuple[str, float] | None]:
    """The description that speaks most for each class; None without one, or without an image."""
    described = files.read_table(folder / "description_quality.parquet", ["class_id", "text"])
    nothing: list[tuple[str, float] | None] = [None] * len(classes)
    if described.empty:
        return nothing
    features = normalized(read_tensors(folder / "description_features.safetensors")["features"].numpy())
    answers = tables.answers[tables.final]
    clip = FeatureStore.open(folder / "features" / "clip" / tables.metrics["split"])
    means: ClassMeans = class_means(clip, answers, classes)
    found = list(nothing)
    for slot, class_id in enumerate(classes):
        mine = np.flatnonzero(described["class_id"] == class_id)
        if len(mine) and (answers == class_id).any():
            best, value = best_text(means, slot, features[mine])
            found[slot] = (shown(described["text"].iloc[mine[best]], TEXT), value)
    return found


def _per_class(tables: Tables, method: str) -> list[dict[str, Any]]:
    mine = tables.per_class[tables.per_class["method"] == method].sort_values("class_id")
    return [{str(key): value for key, value in row.items()} for row in mine.to_dict("records")]


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
