"""The images on a map of the self-supervised features, coloured by what is predicted: by one method, and by the final one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nola_core.explore import layout
from nola_core.features import FeatureStore, normalized
from nola_core.report.class_means import places
from nola_core.report.style import shown
from nola_core.report.tables import Tables

POINTS = 3_000
"""Images on the map; of more, so many drawn with a fixed seed."""
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#A8A000", "#B5651D", "#17A2A2",
)  # fmt: skip
"""Of as many classes, those predicted most often; all others share one grey. Each has a contrast of 2.2 to white and to black."""
GREY = "#9AA5B1"
SIDE, MARGIN = 760, 16
SMOOTH = 2
"""Drawn so many times larger, for smooth edges."""


@dataclass(frozen=True)
class Legend:
    """A colour of the map; `name` is empty for the grey of all other classes."""

    colour: str
    name: str


@dataclass(frozen=True)
class FeatureMap:
    """The map.

    Attributes:
        before: PNG file with the answers of the rival; None of a single method.
        after: PNG file with those of the final method, on the same places.
        legend: which colour is which class.
        points: images shown.
        changed: those of them whose class the two methods do not agree on.
    """

    before: Path | None
    after: Path
    legend: list[Legend]
    points: int
    changed: int


def draw(tables: Tables, store: FeatureStore, pictures: Path) -> FeatureMap | None:
    """Draw map-before.png and map-after.png; None with fewer than three images.

    Args:
        store: self-supervised features of the reported split.
        pictures: an existing folder.
    """
    rows = places(store, tables.answers.index)
    known = np.flatnonzero(rows >= 0)
    if len(known) < 3:
        return None
    drawn = known[np.sort(np.random.default_rng(0).permutation(len(known))[:POINTS])]
    features, chosen = normalized(store.features[drawn]), rows[drawn]
    at = layout.scaled(layout.placed(layout.principal(features)))
    mine = tables.top.classes[chosen, 0]
    coloured = most_frequent(mine, len(COLOURS))
    before, changed = None, 0
    if tables.rival is not None:
        other = tables.tops[tables.rival].classes[chosen, 0]
        changed = int((mine != other).sum())
        before = _saved(at, other, coloured, pictures / "map-before.png")
    after = _saved(at, mine, coloured, pictures / "map-after.png")
    legend = [Legend(colour, shown(tables.names[class_id], 40)) for class_id, colour in zip(coloured, COLOURS, strict=False)]
    if len(tables.names) > len(coloured):
        legend.append(Legend(GREY, ""))
    return FeatureMap(before, after, legend, len(chosen), changed)


def most_frequent(answers: np.ndarray, most: int) -> list[int]:
    """The class ids predicted most often, at most so many, in class order."""
    counts = np.bincount(answers)
    return sorted(int(one) for one in np.argsort(-counts, kind="stable")[:most] if counts[one])


def _saved(spots: np.ndarray, answers: np.ndarray, coloured: Sequence[int], file: Path) -> Path:
    """A transparent PNG: points of other classes first, the coloured ones over them in a fixed random order."""
    colour_of = dict(zip(coloured, COLOURS, strict=False))
    side = SIDE * SMOOTH
    radius = SMOOTH * float(np.clip(90 / np.sqrt(len(spots)), 2.4, 7.0))
    image = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    pen = ImageDraw.Draw(image)
    at = MARGIN * SMOOTH + spots.astype(np.float64) / 65_535 * (side - 2 * MARGIN * SMOOTH)
    mixed = np.random.default_rng(0).permutation(len(spots))
    for row in sorted(mixed.tolist(), key=lambda row: int(answers[row]) in colour_of):
        x, y = at[row]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour_of.get(int(answers[row]), GREY))
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    small.quantize(128, method=Image.Quantize.FASTOCTREE).save(file, format="PNG", optimize=True)
    return file
