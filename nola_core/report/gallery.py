"""Which images of the reported split the page shows first: the most confident, the most doubtful, and the disagreements."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nola_core.report.album import Mark, Tile
from nola_core.report.style import probability, shown
from nola_core.report.tables import Tables

SHOWN = 12
"""Images of each kind."""
LEAST = 0.005
"""Probability from which on a second choice is named."""


@dataclass(frozen=True)
class Disagreements:
    """Images that two methods predict to be of different classes.

    Attributes:
        sentence: how many there are, and which method is right where labels tell.
        tiles: those that both are most confident about.
    """

    sentence: str
    tiles: list[Tile]


def confident(tables: Tables, count: int = SHOWN) -> list[Tile]:
    """The images that the final method is most confident about, of as many classes as possible."""
    order = np.lexsort([-one for one in confidence(tables)])
    return [tile(tables, row) for row in varied(order, tables.top.classes[:, 0], count)]


def doubtful(tables: Tables, count: int = SHOWN) -> list[Tile]:
    """The images that the final method is least confident about, with its second choice."""
    order = np.lexsort(confidence(tables))
    return [tile(tables, row, second=True) for row in varied(order, tables.top.classes[:, 0], count, least=-(-count // 3))]


def confidence(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Keys for `np.lexsort`, float64 [n]: the rival's probability of the predicted class, and before it the final method's.

    Methods of features are often equally sure of nearly everything, to a tenth of a percent; then the rival decides.
    """
    mine, rival = tables.top, tables.rival
    own = np.round(mine.probabilities[:, 0].astype(np.float64), 3)
    if rival is None:
        return np.zeros(len(own)), own
    other = tables.tops[rival]
    return np.where(other.classes == mine.classes[:, :1], other.probabilities, 0.0).sum(axis=1), own


def disagreements(tables: Tables, count: int = SHOWN) -> Disagreements | None:
    """Where the final method and its rival differ; None of a single method."""
    rival = tables.rival
    if rival is None:
        return None
    mine, other = tables.top, tables.tops[rival]
    differ = np.flatnonzero(mine.classes[:, 0] != other.classes[:, 0])
    both = np.minimum(mine.probabilities[differ, 0], other.probabilities[differ, 0])
    order = differ[np.argsort(-both, kind="stable")]
    tiles = []
    for row in varied(order, mine.classes[:, 0], count):
        theirs = f"{tables.title(rival)}: {shown(tables.names[other.classes[row, 0]])} {probability(other.probabilities[row, 0])}"
        tiles.append(tile(tables, row, note=theirs))
    return Disagreements(_counted(tables, rival, differ), tiles)


def varied(order: np.ndarray, classes: np.ndarray, count: int, *, least: int = 1) -> list[int]:
    """The first `count` rows of an order, but of no class more than fill the places; what is left free goes to the first others.

    Args:
        order: row numbers, best first.
        classes: int [n], the class of every row.
        least: so many rows of a class are always allowed.
    """
    most = max(least, -(-count // max(1, len(np.unique(classes[order])))))
    taken: Counter[int] = Counter()
    first: list[int] = []
    rest: list[int] = []
    for place, row in enumerate(order.tolist()):
        if len(first) == count:
            break
        class_id = int(classes[row])
        if taken[class_id] < most:
            taken[class_id] += 1
            first.append(place)
        elif len(rest) < count:
            rest.append(place)
    return [int(order[place]) for place in sorted([*first, *rest[: count - len(first)]])]


def tile(tables: Tables, row: int, *, named: bool = True, second: bool = False, note: str = "") -> Tile:
    """The picture of a row of `Tables.answers` with what the final method predicts; wrong ones also say what it is.

    Args:
        named: with the class; a heading may have it already.
        second: with the second choice, too.
        note: put before both.
    """
    classes, probabilities = tables.top.classes[row], tables.top.probabilities[row]
    mark = mark_of(int(classes[0]), int(tables.actual[row]))
    lines = [note] if note else []
    if second and len(classes) > 1 and probabilities[1] >= LEAST:
        lines.append(f"or {shown(tables.names[classes[1]])} {probability(probabilities[1])}")
    if mark == "wrong":
        lines.append(f"is {shown(tables.names[tables.actual[row]])}")
    name = shown(tables.names[classes[0]]) if named else ""
    return Tile(str(tables.answers.index[row]), probability(probabilities[0]), name, "; ".join(lines), mark)


def mark_of(predicted: int, actual: int) -> Mark:
    """Whether a prediction is right; `actual` is -1 where there is no label."""
    if actual < 0:
        return ""
    return "right" if predicted == actual else "wrong"


def _counted(tables: Tables, rival: str, differ: np.ndarray) -> str:
    final, other = tables.title(tables.final), tables.title(rival)
    total = len(tables.answers)
    if not len(differ):
        return f"{final} and {other} predict the same for all {total:,} images."
    text = f"{final} and {other} predict different classes for {len(differ):,} of {total:,} images."
    actual = tables.actual[differ]
    known = int((actual >= 0).sum())
    if not known:
        return text
    right = [int((one.classes[differ, 0] == actual)[actual >= 0].sum()) for one in (tables.top, tables.tops[rival])]
    return f"{text} Of the {known:,} that have a label, {final} is right about {right[0]:,} and {other} about {right[1]:,}."
