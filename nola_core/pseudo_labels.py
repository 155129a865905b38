"""NoLA's second step, first half: which images teach, and as what."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.errors import NolaError
from nola_core.prediction import matrix

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
) -> pd.DataFrame:
    """The k most confident images of every class.

    Candidates of a class are the images it is the first answer for, by falling confidence (ties by image id). A class that is
    nobody's first answer takes the images it is the second answer for, else the third, by that answer's confidence. An image
    selected by two classes is kept once, for the class it has the higher confidence in.

    Args:
        predictions: prediction table rows of one method on the images to choose from.
        names: class names by class id.
        k: images a class, see `per_class`.
        unpredicted: what to do about a class that is among nobody's first three answers.

    Returns:
        Every candidate with `class_id, confidence, margin, rank` (from 1, inside its class), `selected` and `why`.
        `margin` is the confidence less that of the image's best other class, so below zero for a fall-back.

    Raises:
        NolaError: such a class, with `unpredicted="error"`.
    """
    top_classes = matrix(predictions["top_classes"])
    top = matrix(predictions["top_probabilities"])
    members = [_members(top_classes[:, place], len(names)) for place in range(min(len(ORDINALS), top_classes.shape[1]))]
    image_ids = predictions["image_id"].to_numpy()
    parts, nobodys = [], []
    for class_id, name in enumerate(names):
        for place, rows_of in enumerate(members):
            rows = rows_of[class_id]
            if len(rows):
                parts.append(_candidates(class_id, place, image_ids[rows], top[rows], k))
                break
        else:
            nobodys.append(name)
    if nobodys and unpredicted == "error":
        listed = ", ".join(f"'{name}'" for name in nobodys[:5]) + (f" and {len(nobodys) - 5} more" if len(nobodys) > 5 else "")
        raise NolaError(
            f"nobody predicts the class {listed}: for no train image is it among the first three answers. Check its name and "
            "descriptions, take it out of the class list, or set select.unpredicted to skip."
        )
    table = pd.concat(parts, ignore_index=True)
    chosen = table[table["selected"]].sort_values(["confidence", "class_id"], ascending=[False, True], kind="stable")
    twice = chosen.index[chosen.duplicated("image_id")]
    table.loc[twice, "selected"] = False
    table.loc[twice, "why"] = "not selected: another class has this image with higher confidence"
    return table


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
    return part.assign(class_id=class_id, rank=np.arange(1, len(part) + 1), selected=selected, why=why)
