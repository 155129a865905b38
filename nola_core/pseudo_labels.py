"""NoLA's second step, first half: which images teach, and as what."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Set
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.corrections import NO_CLASS
from nola_core.errors import NolaError
from nola_core.prediction import matrix
from nola_core.text import enumerated

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("class_id", pa.int32()),
        ("confidence", pa.float32()),
        ("margin", pa.float32()),
        ("rank", pa.int32()),
        ("selected", pa.bool_()),
        ("why", pa.string()),
    ]
)
GIVEN = "given: a correction"
"""The reason for a pseudo-label that a person gave."""
ORDINALS = ("first", "second", "third")


def per_class(images: int, classes: int, *, fraction: float, minimum: int, maximum: int | None) -> int:
    """K = max(minimum, floor(fraction * N / C)), at most `maximum` if there is one (METHODS section 1, step 2)."""
    k = max(minimum, math.floor(fraction * images / classes))
    return k if maximum is None else min(k, maximum)


def select(
    predictions: pd.DataFrame,
    names: list[str],
    *,
    k: int,
    unpredicted: Literal["error", "skip"],
    given: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """The k most confident images of every class.

    Candidates of a class are the images it is the first answer for, by falling confidence (ties by image id). A class that is
    nobody's first answer takes the images it is the second answer for, else the third, by that answer's confidence. An image
    selected by two classes is kept once, for the class it has the higher confidence in. A class that is left with none this way
    keeps one: its most confident candidate that is no other class's best. Where there is no such candidate, one of those classes
    makes do with another of its own, so that as many classes as possible have a pseudo-label.

    An image that a correction gives to a class is a pseudo-label of it, before all others and beyond the k, and a candidate of no
    other class; one that is of no class is no candidate at all. A class with a given image takes no second or third answers.

    Args:
        predictions: prediction table rows of one method on the images to choose from.
        names: class names by class id.
        k: images a class, see `per_class`.
        unpredicted: what to do about a class that ends without any: it is among nobody's first three answers, or each image it is
            an answer for is the only one of another class. `skip` leaves it out; `classes_without` names it.
        given: image id -> class id, `corrections.NO_CLASS` for none; images without a prediction are ignored.

    Returns:
        Every candidate with `class_id, confidence, margin, rank` (from 1, inside its class), `selected` and `why`.
        `margin` is the confidence less that of the image's best other class, so below zero for a fall-back.

    Raises:
        NolaError: there is such a class, with `unpredicted="error"`.
    """
    given = given or {}
    pinned = _given(predictions["image_id"], given)
    if given:
        predictions = predictions[~predictions["image_id"].isin(list(given))]
    top_classes = matrix(predictions["top_classes"])
    top = matrix(predictions["top_probabilities"])
    members = [_members(top_classes[:, place], len(names)) for place in range(min(len(ORDINALS), top_classes.shape[1]))]
    image_ids, having = predictions["image_id"].to_numpy(), set(pinned["class_id"])
    parts = []
    for class_id in range(len(names)):
        for place, rows_of in enumerate(members):
            rows = rows_of[class_id]
            if place and class_id in having:
                break  # it need not make do with second answers
            if len(rows):
                parts.append(_candidates(class_id, place, image_ids[rows], top[rows], k))
                break
    table = pd.concat(parts, ignore_index=True) if parts else pinned.head(0).assign(answer="")
    chosen = table[table["selected"]].sort_values(["confidence", "class_id"], ascending=[False, True], kind="stable")
    twice = chosen.index[chosen.duplicated("image_id")]
    table.loc[twice, "selected"] = False
    table.loc[twice, "why"] = "not selected: another class has this image with higher confidence"
    _one_for_each(table, having=having)
    table = table.drop(columns="answer")
    if len(pinned):
        table["rank"] += table["class_id"].map(pinned["class_id"].value_counts()).fillna(0).astype(int)
        table = pd.concat([pinned, table], ignore_index=True).sort_values(["class_id", "rank"], kind="stable", ignore_index=True)
    empty = classes_without(table, names)
    if empty and unpredicted == "error":
        raise NolaError(
            f"no pseudo-label for {named(empty, len(names))}. For no train image is such a class among the first three answers, "
            "or each such image is the only one of another class. Check names and descriptions, take these classes out of the "
            "class list, or set select.unpredicted to skip."
        )
    return table


def classes_without(table: pd.DataFrame, names: list[str]) -> list[str]:
    """Names of the classes that no row of `select`'s table is selected for, in order of class id."""
    having = set(table.loc[table["selected"], "class_id"])
    return [name for class_id, name in enumerate(names) if class_id not in having]


def named(some: list[str], total: int, most: int = 5) -> str:
    """`7 of 1,000 classes: 'auk', 'dodo', 'emu', 'kea', 'moa' and 2 more`."""
    return f"{len(some):,} of {total:,} classes: " + enumerated((f"'{name}'" for name in some), most=most)


def _given(image_ids: pd.Series[str], given: Mapping[str, int]) -> pd.DataFrame:
    """The rows of the images that corrections give to a class, in order of the images."""
    mine = [(image_id, given[image_id]) for image_id in image_ids if given.get(image_id, NO_CLASS) != NO_CLASS]
    table = pd.DataFrame(mine, columns=["image_id", "class_id"]).astype({"image_id": "str", "class_id": "int64"})
    return table.assign(
        confidence=np.float32(1), margin=np.float32(1), rank=table.groupby("class_id").cumcount() + 1, selected=True, why=GIVEN
    )


def _one_for_each(table: pd.DataFrame, having: Set[int]) -> None:
    """Give, in place, one candidate to every class that has candidates and none selected, as far as there are enough images.

    A maximum matching of classes and images by augmenting paths. It begins with every class at its best selected image.

    Args:
        having: classes that need none.
    """
    classes, images = table["class_id"].to_numpy(), pd.factorize(table["image_id"])[0]
    selected = np.flatnonzero(table["selected"])
    holder = dict(zip(images[selected], selected, strict=True))
    own = {classes[row]: row for row in selected[::-1]}  # each class's best one: its rows stand in order of rank
    starved = [class_id for class_id in np.unique(classes) if class_id not in own and class_id not in having]
    if not starved:
        return
    owner = {images[row]: row for row in own.values()}
    moved: set[int] = set()  # classes whose own image is another one now
    for class_id in starved:
        for row in _path(class_id, classes, images, own, owner):
            own[classes[row]] = owner[images[row]] = row
            moved.add(classes[row])
    rows = np.array([own[class_id] for class_id in sorted(moved)], dtype=np.int64)
    lost = [holder[images[row]] for row in rows if images[row] in holder and holder[images[row]] != row]
    new = rows[~table["selected"].to_numpy()[rows]]
    table.loc[lost, "selected"] = False
    table.loc[lost, "why"] = "not selected: left to a class that would have none"
    table.loc[new, "selected"] = True
    table.loc[new, "why"] = "selected: " + table.loc[new, "answer"] + ", so that its class has one"


def _path(start: int, classes: np.ndarray, images: np.ndarray, own: dict[int, int], owner: dict[int, int]) -> list[int]:
    """The rows that become their classes' own so that `start` gets one: a shortest augmenting path; none if there is no way.

    Args:
        classes: [R] class of every candidate row, ascending; a class's rows stand in order of rank.
        images: [R] image of every row.
        own: class -> the row of its own image.
        owner: image -> the same row.
    """
    reached: dict[int, int] = {}  # image -> the row by which a class asked for it
    waiting = deque([start])
    while waiting:
        class_id = waiting.popleft()
        for row in range(*np.searchsorted(classes, [class_id, class_id + 1])):
            image = images[row]
            if image in reached:
                continue
            reached[image] = row
            if image in owner:
                waiting.append(classes[owner[image]])
                continue
            path = [row]
            while classes[row] != start:
                row = reached[images[own[classes[row]]]]
                path.append(row)
            return path
    return []


def _members(answers: np.ndarray, classes: int) -> list[np.ndarray]:
    """The rows that hold each class, in order: one pass over all instead of one a class."""
    order = np.argsort(answers, kind="stable")
    return np.split(order, np.searchsorted(answers[order], np.arange(1, classes)))


def _candidates(class_id: int, place: int, image_ids: np.ndarray, top: np.ndarray, k: int) -> pd.DataFrame:
    confidence = top[:, place]
    other = top[:, 0] if place else (top[:, 1] if top.shape[1] > 1 else np.zeros_like(confidence))
    part = pd.DataFrame({"image_id": image_ids, "confidence": confidence, "margin": confidence - other})
    part = part.sort_values(["confidence", "image_id"], ascending=[False, True], ignore_index=True)
    selected = np.arange(len(part)) < k
    answer = f"{ORDINALS[place]} answer" + ("" if place == 0 else f" (no image has it as {ORDINALS[place - 1]})")
    why = np.where(selected, f"selected: {answer}, among the {k} most confident", f"not selected: {answer}, beyond the first {k}")
    return part.assign(class_id=class_id, rank=np.arange(1, len(part) + 1), selected=selected, why=why, answer=answer)
