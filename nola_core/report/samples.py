"""Sample images of each class with their pseudo-labels, right and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nola_core.report.album import Tile
from nola_core.report.style import probability, shown

SAMPLED_CLASSES = 20
"""At most this many classes are shown."""


@dataclass(frozen=True)
class ClassSample:
    """The pseudo-labels of one class, with pictures."""

    name: str
    summary: str
    tiles: list[Tile]


def judged(pseudo_labels: pd.DataFrame, truth: pd.Series[int]) -> pd.DataFrame:
    """The pseudo-labels with `selected` as bool, `actual` (class id) and `right` (bool); both missing without truth."""
    table = pseudo_labels.assign(selected=pseudo_labels["selected"].astype(bool))
    table["actual"] = table["image_id"].map(truth).astype("Int64")
    table["right"] = (table["actual"] == table["class_id"]).astype("boolean").mask(table["actual"].isna())
    return table


def choose(candidates: pd.DataFrame, count: int) -> pd.DataFrame:
    """Which selected pseudo-labels of one class to show, most confident first, the wrong ones last.

    Wrong ones are the instructive ones: they take up to half the places, the right ones (and those of unknown truth)
    the rest; what one kind leaves free the other takes. Each kind is spread evenly over the ranks.

    Args:
        candidates: rows of one class from `judged`.
        count: places there are.
    """
    selected = candidates[candidates["selected"]].sort_values("rank", kind="stable")
    wrong = selected[selected["right"].eq(False).fillna(False).astype(bool)]
    others = selected.drop(index=wrong.index)
    places = max(count - len(others), min(len(wrong), count // 2))
    return pd.concat([_spread(others, count - min(places, len(wrong))), _spread(wrong, places)])


def choose_classes(candidates: pd.DataFrame, classes: int, most: int) -> list[int]:
    """The class ids to show: all, or `most` of them spread evenly from the worst to the best pseudo-labels.

    Worst means the lowest accuracy of the selected ones or, without ground truth, the lowest mean confidence.
    """
    if classes <= most:
        return list(range(classes))
    selected = candidates[candidates["selected"]]
    measure = selected.groupby("class_id").agg(right=("right", "mean"), confidence=("confidence", "mean"))
    ranked = measure.sort_values(["right", "confidence"], kind="stable").index.to_numpy()
    return [int(class_id) for class_id in _evenly(ranked, most)]


def chosen(candidates: pd.DataFrame, names: list[str], count: int) -> list[ClassSample]:
    """The samples of the classes that are shown; classes without any image are left out.

    Args:
        candidates: from `judged`.
        names: class names by class id.
        count: images a class.
    """
    samples = []
    for class_id in choose_classes(candidates, len(names), SAMPLED_CLASSES):
        mine = candidates[candidates["class_id"] == class_id]
        some = choose(mine, count)
        if not some.empty:
            samples.append(ClassSample(shown(names[class_id]), _summary(mine), tiles(some, names)))
    return samples


def tiles(some: pd.DataFrame, names: list[str]) -> list[Tile]:
    """Rows of `judged` of one class with their confidence, and the true name of the wrong ones."""
    found = []
    for image_id, confidence, right, actual in zip(
        some["image_id"], some["confidence"], some["right"], some["actual"], strict=True
    ):
        number = probability(confidence)
        if right is pd.NA:
            found.append(Tile(str(image_id), number))
        elif right:
            found.append(Tile(str(image_id), number, mark="right"))
        else:
            found.append(Tile(str(image_id), number, note=f"is {shown(names[actual])}", mark="wrong"))
    return found


def _summary(mine: pd.DataFrame) -> str:
    selected = mine[mine["selected"]]
    known = int(selected["right"].notna().sum())
    text = f"{len(selected):,} selected of {len(mine):,} candidates"
    return f"{text}, {int(selected['right'].sum()):,} of {known:,} right" if known else text


def _spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.iloc[_evenly(np.arange(len(rows)), count)]


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, from the first to the last at even distances."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(int)] if count > 0 else values[:0]
