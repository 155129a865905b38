"""The report's plots. Every function draws one figure from plain tables and decides nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ParamSpec

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nola_core.report.style import (
    FAINT,
    INK,
    NEUTRAL,
    RIGHT,
    WRONG,
    Look,
    new_figure,
    percent,
    short,
    signed,
    styled,
)

P = ParamSpec("P")

SHARES = LinearSegmentedColormap.from_list("shares", ["#0A5F9E00", "#0A5F9EFF"])
"""From nothing to blue, so that it fits a light and a dark page."""
ON_BLUE = "#FEFEFE"

NUMBERED_CLASSES = 15
"""A confusion matrix of up to this many classes shows the number in each cell."""
NAMED_CLASSES = 30
"""A picture names at most this many classes; beyond, it shows the most telling ones and says so."""


def _in_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with styled():
            return draw(*args, **kwargs)

    return drawn


@_in_style
def accuracy(
    scores: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    images: int,
    *,
    looks: Mapping[str, Look],
    final: str,
) -> Figure:
    """Top-1 accuracy per method as bars with their values and 95 % intervals; the final method in bold.

    Args:
        scores: method -> fraction, in the order to show.
        intervals: method -> low and high fraction.
        images: how many labelled images they were measured on.
        looks: method -> title and colour.
        final: the method whose predictions are the product.
    """
    figure = new_figure(6.8, 0.75 + (0.42 if len(scores) <= 8 else 0.28) * len(scores))
    axes = figure.subplots()
    places = np.arange(len(scores))[::-1]
    for place, (method, value) in zip(places, scores.items(), strict=True):
        low, high = intervals[method]
        weight = "bold" if method == final else "normal"
        axes.barh(place, 100 * value, height=0.66, color=looks[method].colour)
        axes.plot([100 * low, 100 * high], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.text(100 * high + 1.2, place, percent(value), va="center", fontweight=weight)
    axes.set_yticks(places, [short(looks[method].title, 28) for method in scores])
    for label, method in zip(axes.get_yticklabels(), scores, strict=True):
        label.set_fontweight("bold" if method == final else "normal")
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_title(f"Top-1 accuracy ({images:,} images; line: 95 % interval)")
    return figure


def confusion_counts(confusion: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """[C, C] counts, actual classes in rows, from a table with the columns `actual, predicted` (names)."""
    place = pd.Series(np.arange(len(names)), index=list(names))
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (place[confusion["actual"]].to_numpy(), place[confusion["predicted"]].to_numpy()), 1)
    return counts


def most_confused(counts: np.ndarray, count: int) -> np.ndarray:
    """The `count` classes that take part in the most errors, as actual or as predicted class, in class order."""
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    return np.sort(np.argsort(-errors, kind="stable")[:count])


@_in_style
def confusion(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Confusion heat map: each row is an actual class, coloured by the fraction of its images.

    With more than `NAMED_CLASSES` classes only the most confused are drawn, and a last column gathers all others.

    Args:
        counts: [C, C], actual classes in rows.
        names: [C] class names.
        title: of the method that predicts.
    """
    title = f"Predictions of {title} for each class"
    columns = list(names)
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(names) > NAMED_CLASSES:
        chosen = most_confused(counts, NAMED_CLASSES - 5)
        inside = fraction[np.ix_(chosen, chosen)]
        rest = (fraction[chosen].sum(axis=1) - inside.sum(axis=1))[:, None]
        fraction, counts = np.hstack([inside, rest]), counts[chosen]
        names = [names[i] for i in chosen]
        columns = [*names, "any other"]
        title += f"\n(the {len(names)} most confused of {len(counts.T):,} classes)"
    rows = len(names)
    size = 6.4 if rows > 12 else 5.4
    figure = new_figure(size + 0.6, size)
    axes = figure.subplots()
    image = axes.imshow(fraction, cmap=SHARES, vmin=0, vmax=1, aspect="auto")
    font = 9 if rows <= 12 else 7
    axes.set_xticks(range(len(columns)), [short(name) for name in columns], rotation=90 if rows > 6 else 0, fontsize=font)
    axes.set_yticks(range(rows), [short(name) for name in names], fontsize=font)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2 if rows <= 15 else 0.6)
    axes.tick_params(which="minor", length=0)
    if rows <= NUMBERED_CLASSES:
        for (row, column), value in np.ndenumerate(fraction):
            if counts[row, column]:
                dark = value > 0.55
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=ON_BLUE if dark else INK,
                )
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, format=PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)
    bar.set_label("of the actual class's images")
    axes.set_title(title)
    return figure


@_in_style
def reliability(table: pd.DataFrame, errors: Mapping[str, float], bins: int, *, looks: Mapping[str, Look]) -> Figure:
    """Reliability diagrams: accuracy per bin of confidence, one panel a method; the dashed line is perfect calibration.

    Args:
        table: rows of plots/reliability.csv.
        errors: method -> expected calibration error, in the order to show.
        bins: how many bins the table was made with.
        looks: method -> title and colour.
    """
    columns = 2 if len(errors) == 4 else min(3, len(errors))
    rows = -(-len(errors) // columns)
    figure = new_figure(2.3 * columns + 0.3, 2.35 * rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < len(errors))
        axes.tick_params(labelbottom=place + columns >= len(errors))
    for axes, (method, error) in zip(grid.flat, errors.items(), strict=False):
        mine = table[table["method"] == method]
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle="--", linewidth=1)
        left = mine["bin"] / bins
        axes.bar(left, mine["accuracy"], width=0.92 / bins, align="edge", color=looks[method].colour)
        area = 70 * np.sqrt(mine["images"] / mine["images"].sum())
        axes.scatter(
            mine["confidence"],
            mine["accuracy"],
            s=area,
            facecolor="white",
            edgecolor=INK,
            linewidth=0.9,
            zorder=3,
            clip_on=False,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(f"{short(looks[method].title, 26)}\n", fontsize=9)
        axes.text(0, 1.03, f"ECE {percent(error)}", transform=axes.transAxes, color="#52606D", fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        axes.grid()
    figure.supxlabel("confidence (dots: area grows with the images of the bin)", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    return figure


@_in_style
def tuning(curve: pd.DataFrame, *, looks: Mapping[str, Look]) -> Figure:
    """Loss and agreement with the teacher over the epochs, in two panels, one curve a student.

    Args:
        curve: rows of curve.csv.
        looks: method -> title and colour.
    """
    students = [method for method in looks if (curve["method"] == method).any()]
    figure = new_figure(6.8, 2.6)
    left, right = figure.subplots(1, 2)
    for method in students:
        mine = curve[curve["method"] == method]
        for axes, column in ((left, "loss"), (right, "teacher_agreement")):
            axes.plot(
                mine["epoch"], mine[column], color=looks[method].colour, linewidth=1.8, marker="o" if len(mine) < 12 else "",
                markersize=4, label=looks[method].title,
            )  # fmt: skip
    left.set_title("Loss")
    right.set_title("Agreement with the teacher")
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_ylim(top=min(1.0, float(curve["teacher_agreement"].max()) * 1.03 + 0.01))
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.grid(axis="y")
    if len(students) > 1:
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


@_in_style
def class_change(per_class: pd.DataFrame, before: str, after: str, *, looks: Mapping[str, Look]) -> Figure:
    """Change of each class's accuracy from one method to another, in points, sorted.

    Beyond `NAMED_CLASSES` classes, the largest gains and losses alone.

    Args:
        per_class: rows of per_class.csv of one split.
        before: the method compared with.
        after: the method shown.
        looks: method -> title and colour.
    """
    table = per_class[per_class["images"] > 0].pivot_table(index="class", columns="method", values="accuracy")
    change = (table[after] - table[before]).sort_values(kind="stable")
    title = f"Change of each class's accuracy\nfrom {looks[before].title} to {looks[after].title}, in points"
    if len(change) > NAMED_CLASSES:
        half = NAMED_CLASSES // 2
        title += f" ({half} largest losses and gains of {len(change):,} classes)"
        change = pd.concat([change.iloc[:half], change.iloc[-half:]])
    figure = new_figure(6.4, 0.8 + 0.24 * len(change))
    axes = figure.subplots()
    places = np.arange(len(change))
    axes.barh(places, change, height=0.7, color=[RIGHT if value >= 0 else WRONG for value in change])
    axes.axvline(0, color=INK, linewidth=0.9)
    reach = max(0.05, float(change.abs().max()))
    for place, value in enumerate(change):
        side = 1 if value >= 0 else -1
        axes.text(
            value + side * 0.015 * reach,
            place,
            signed(value, 0),
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=8,
        )
    low, high = float(change.min()), float(change.max())
    right = 0.14 * reach if low or high else reach
    axes.set_xlim(low - 0.14 * reach if low < 0 else -0.01 * reach, max(0, high) + right)
    axes.xaxis.set_major_formatter(lambda value, _: signed(value, 0))
    axes.set_yticks(places, [short(str(name), 28) for name in change.index], fontsize=8)
    axes.set_ylim(-0.7, len(change) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_title(title)
    return figure


@_in_style
def confidence(candidates: pd.DataFrame) -> Figure:
    """Histograms of the pseudo-labels' confidence, of all candidates and of the selected ones, right against wrong.

    Args:
        candidates: `confidence`, `selected` and `right` (True, False, or missing where the truth is not known).
    """
    figure = new_figure(6.8, 2.5)
    panels = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 26)
    for axes, title, rows in zip(
        panels, ("All candidates", "Selected"), (candidates, candidates[candidates["selected"]]), strict=True
    ):
        _stacked_histogram(axes, rows, edges)
        axes.set_title(f"{title} ({len(rows):,})")
        axes.set_xlabel("confidence of the pseudo-label")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.grid(axis="y")
    panels[0].set_ylabel("images")
    return figure


def _stacked_histogram(axes: Axes, rows: pd.DataFrame, edges: np.ndarray) -> None:
    bottom = np.zeros(len(edges) - 1)
    kinds = {"right": (rows["right"].eq(True), RIGHT), "wrong": (rows["right"].eq(False), WRONG)}
    kinds["truth not known"] = (rows["right"].isna(), NEUTRAL)
    for name, (mask, shade) in kinds.items():
        if not mask.any():
            continue
        heights, _ = np.histogram(rows.loc[mask, "confidence"], edges)
        hatch = "////" if name == "wrong" else None
        axes.bar(
            edges[:-1], heights, width=np.diff(edges), bottom=bottom, align="edge", color=shade,
            edgecolor="white", linewidth=0.4, hatch=hatch, label=f"{name} ({int(mask.sum()):,})",
        )  # fmt: skip
        bottom += heights
    axes.set_xlim(0, 1)
    if bottom.any():
        axes.set_ylim(0, 1.4 * bottom.max())  # room for the legend
        axes.legend(loc="upper left", fontsize=8)


@_in_style
def class_counts(per_class: pd.DataFrame, methods: Sequence[str], *, looks: Mapping[str, Look]) -> Figure:
    """How many images each method predicts to be of each class: all that can be shown per class without ground truth.

    Beyond `NAMED_CLASSES` classes, those whose count changed most.

    Args:
        per_class: rows of per_class.csv of one split.
        methods: one or two; of two, the first is drawn as marks on the bars of the second.
        looks: method -> title and colour.
    """
    table = per_class[per_class["method"].isin(methods)].pivot_table(
        index=["class_id", "class"], columns="method", values="predicted"
    )
    title = "Images predicted to be of each class"
    if len(table) > NAMED_CLASSES:
        change = (table[methods[-1]] - table[methods[0]]).abs().to_numpy()
        chosen = np.sort(np.argsort(-change, kind="stable")[:NAMED_CLASSES])
        title += f" (the {NAMED_CLASSES} of {len(table):,} classes that changed most)"
        table = table.iloc[chosen]
    figure = new_figure(6.4, 0.8 + 0.24 * len(table))
    axes = figure.subplots()
    places = np.arange(len(table))[::-1]
    bars, marks = looks[methods[-1]], looks[methods[0]]
    axes.barh(places, table[methods[-1]], height=0.7, color=bars.colour, label=bars.title)
    if len(methods) > 1:
        axes.scatter(table[methods[0]], places, marker="|", s=90, linewidth=2, color=INK, label=marks.title, zorder=3)
    axes.set_yticks(places, [short(str(name), 28) for name in table.index.get_level_values("class")], fontsize=8)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color=FAINT)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axes.set_title(title)
    return figure
