"""Methods, data sets and runs side by side: the rows of `nola compare`, from nothing but metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nola_core.corrections import sentence
from nola_core.methods.method import InForce

QUANTILE = 1.959963984540054
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Score:
    """What one run says of one method on one data set; shares in [0, 1], None where it was not measured.

    Attributes:
        top1: accuracy on the labelled images; without any, of all images by an audit.
        low, high: its 95 % interval: Wilson's, or that of the audit.
        labelled: images the accuracy was measured on; those that a person judged in an audit.
        images: all of the split.
        split: the reported split.
        transductive: whether the methods were fitted on these very images.
        agreement: share of the images where the method predicts what the run's final method predicts.
        neighbors: share of images predicted to be what most of their neighbours in the self-supervised features are.
        variety: nuclear norm of the predicted classes; 1 if all classes are predicted equally often.
        entropy: of the mean prediction, over log C.
        audited: whether the accuracy is that of an audit.
        corrections: how many corrections of each kind people gave before the methods were fitted; empty for a label-free result.
    """

    top1: float | None
    low: float | None
    high: float | None
    labelled: int
    images: int
    split: str
    transductive: bool
    agreement: float | None
    neighbors: float | None
    variety: float | None
    entropy: float | None
    audited: bool = False
    corrections: Mapping[str, int] = field(default_factory=dict)

    @property
    def measured_on(self) -> tuple[object, ...]:
        """Accuracies are comparable where this is the same: the images, and the class list as far as it was corrected."""
        return self.split, self.labelled, *(self.corrections.get(kind, 0) for kind in ("merges", "classes"))


@dataclass(frozen=True)
class Row:
    """One method on one data set, in every run that has it.

    Attributes:
        title: of the method.
        parts: what it is in the first run that has it: `baseline`, `text classifier`, `teacher`, `final`.
        scores: run -> score.
    """

    dataset: str
    method: str
    title: str
    parts: tuple[str, ...]
    scores: Mapping[str, Score]

    def gain(self, run: str, over: Row | None) -> float | None:
        """Top-1 of a run less that of another row's in the same run; None where one was not measured."""
        return _difference(self.scores.get(run), None if over is None else over.scores.get(run))

    def change(self, run: str, since: str) -> float | None:
        """Top-1 of a run less that of another run; None where one was not measured, or on other images, or by an audit."""
        mine, theirs = self.scores.get(run), self.scores.get(since)
        if mine is None or theirs is None or mine.audited or theirs.audited:
            return None
        same = mine.measured_on == theirs.measured_on
        return _difference(mine, theirs) if same else None

    def values(self) -> dict[str, Any]:
        """As JSON takes it."""
        scores = {run: asdict(score) for run, score in self.scores.items()}
        return {"dataset": self.dataset, "method": self.method, "title": self.title, "parts": list(self.parts), "runs": scores}


def _difference(mine: Score | None, theirs: Score | None) -> float | None:
    if mine is None or theirs is None or mine.top1 is None or theirs.top1 is None:
        return None
    return mine.top1 - theirs.top1


@dataclass(frozen=True)
class Comparison:
    """Rows in the order of the data sets, and of the methods in each."""

    runs: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def datasets(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def of(self, dataset: str) -> list[Row]:
        """The rows of a data set."""
        return [row for row in self.rows if row.dataset == dataset]

    def baseline(self, dataset: str) -> Row | None:
        """The row that gains are measured from."""
        return next((row for row in self.of(dataset) if "baseline" in row.parts), None)

    def measured(self, dataset: str) -> bool:
        """Whether any accuracy of the data set was measured."""
        return any(score.top1 is not None for row in self.of(dataset) for score in row.scores.values())

    def means(self, run: str) -> tuple[list[str], dict[str, float]]:
        """The data sets of a run with labelled test images, and the mean top-1 over them of every method that all of them have.

        Nothing where there are fewer than two: accuracies on images that were fitted on are not averaged with those on others.
        """
        found: dict[str, list[float]] = {}
        datasets = []
        for dataset in self.datasets:
            scores = {row.title: row.scores[run] for row in self.of(dataset) if run in row.scores}
            top1 = {
                title: score.top1
                for title, score in scores.items()
                if score.top1 is not None and not (score.transductive or score.audited)
            }
            if top1:
                datasets.append(dataset)
            for title, value in top1.items():
                found.setdefault(title, []).append(value)
        if len(datasets) < 2:
            return [], {}
        return datasets, {title: sum(all_) / len(all_) for title, all_ in found.items() if len(all_) == len(datasets)}

    def notes(self) -> list[str]:
        """What a reader must know of the figures; empty where there is nothing to say."""
        found = []
        for dataset in self.datasets:
            first = next(iter(self.of(dataset)[0].scores.values()))
            if not self.measured(dataset):
                found.append(
                    f"{dataset} has no labels, so no accuracy was measured. Agreement, neighbors and variety are signals: "
                    f"a high value is no high accuracy. nola audit {dataset} measures it."
                )
            elif first.audited:
                found.append(
                    f"{dataset}: the accuracies are those of an audit of {first.labelled:,} images. The best of several looks "
                    "better than it is."
                )
            elif first.transductive:
                found.append(f"{dataset} has no test images: its accuracies are on the images the methods were fitted on.")
            for run in self.runs:
                told = next((row.scores[run].corrections for row in self.of(dataset) if run in row.scores), {})
                if told:
                    found.append(f"{dataset}{'' if run == self.runs[0] else f', {run}'}: {sentence(told)}.")
            others = {score.measured_on for row in self.of(dataset) for score in row.scores.values()}
            if len(others) > 1:
                what = "images" if len({one[:2] for one in others}) > 1 else "class lists"
                found.append(f"{dataset}: the runs were measured on different {what}, so their accuracies are not subtracted.")
        return found


def compare(runs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Comparison:
    """Put runs side by side.

    Args:
        runs: name of the run -> data set -> content of metrics.json (docs/formats.md), checked to have `in_force`.
    """
    rows: dict[tuple[str, str], Row] = {}
    order = list(dict.fromkeys(dataset for metrics in runs.values() for dataset in metrics))
    for dataset in order:
        for run, by_dataset in runs.items():
            if dataset not in by_dataset:
                continue
            metrics = by_dataset[dataset]
            in_force = InForce.of(metrics["in_force"])
            for one in in_force.methods:
                key, score = (dataset, one.name), _score(metrics, one.name)
                row = rows.get(key) or Row(dataset, one.name, one.title, _parts(in_force, one.name), {})
                rows[key] = replace(row, scores={**row.scores, run: score})
    places = {dataset: place for place, dataset in enumerate(order)}
    return Comparison(tuple(runs), tuple(sorted(rows.values(), key=lambda row: places[row.dataset])))


def _score(metrics: Mapping[str, Any], method: str) -> Score:
    free = metrics["label_free"].get(metrics["split"], {}).get(method, {})
    top1, labelled = metrics["methods"].get(method, {}).get("top1"), int(metrics["labelled"])
    low, high = (None, None) if top1 is None else interval(top1, labelled)
    audit = metrics.get("audit") or {}
    audited = not metrics["methods"] and method in audit.get("methods", {})
    if audited:
        top1, low, high = (audit["methods"][method][key] for key in ("accuracy", "low", "high"))
        labelled = int(audit["labels"])
    return Score(
        top1=top1,
        low=low,
        high=high,
        labelled=labelled,
        images=int(metrics["images"]),
        split=str(metrics["split"]),
        transductive=metrics["protocol"] == "transductive",
        agreement=metrics.get("agreement", {}).get(method),
        neighbors=free.get("neighbors_ssl"),
        variety=free.get("answer_nuclear_norm"),
        entropy=free.get("mean_prediction_entropy"),
        audited=audited,
        corrections=metrics.get("corrections") or {},
    )


def _parts(in_force: InForce, method: str) -> tuple[str, ...]:
    parts = {
        "baseline": in_force.baseline,
        "text classifier": in_force.text_classifier,
        "teacher": in_force.teacher,
        "final": in_force.final,
    }
    return tuple(part for part, name in parts.items() if name == method)


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of `count` images ("Probable Inference", JASA 1927).

    In closed form, because scipy's import takes longer than all of `nola compare`; a test compares the two.
    """
    square = QUANTILE**2 / count
    middle = (share + square / 2) / (1 + square)
    half = QUANTILE * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def draw(comparison: Comparison, path: Path) -> None:
    """Write a PNG: a panel a data set, a line a method, a mark a run; accuracy with its interval, else agreement."""
    import matplotlib.lines
    from matplotlib.ticker import PercentFormatter

    from nola_core.report.style import FAINT, INK, NEUTRAL, new_figure, save, short, styled

    marks = "osD^v<>PX"
    datasets = comparison.datasets
    columns = min(3, len(datasets))
    lines = -(-len(datasets) // columns)
    tallest = max(len(comparison.of(dataset)) for dataset in datasets)
    wide = 5.2 if columns == 1 else 4.7 * columns
    with styled():
        figure = new_figure(wide, 0.5 + lines * (0.9 + 0.27 * tallest) + (0.3 if len(comparison.runs) > 1 else 0))
        axes_of = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in axes_of[len(datasets) :]:
            axes.set_visible(False)
        for axes, dataset in zip(axes_of, datasets, strict=False):
            rows, measured = comparison.of(dataset), comparison.measured(dataset)
            for place, row in zip(range(len(rows))[::-1], rows, strict=True):
                final = "final" in row.parts
                axes.axhline(place, color=FAINT, linewidth=0.7, zorder=0)
                for number, score in enumerate(row.scores.get(run) for run in comparison.runs):
                    value = None if score is None else score.top1 if measured else score.agreement
                    if score is None or value is None:
                        continue
                    shift = place + 0.22 * ((len(comparison.runs) - 1) / 2 - number)
                    colour = ("#0072B2" if final else INK) if number == 0 else NEUTRAL
                    if measured and score.low is not None and score.high is not None:
                        axes.plot([100 * score.low, 100 * score.high], [shift, shift], color=colour, linewidth=1.1)
                    filled = colour if number == 0 else "white"
                    axes.plot(100 * value, shift, marks[number % len(marks)], color=colour, markerfacecolor=filled, markersize=5)
            axes.set_yticks(range(len(rows))[::-1], [short(row.title, 26) for row in rows])
            for label, row in zip(axes.get_yticklabels(), rows, strict=True):
                label.set_fontweight("bold" if "final" in row.parts else "normal")
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(-0.6, len(rows) - 0.4)
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
            axes.grid(axis="x")
            score = next(iter(rows[0].scores.values()))
            axes.set_title(short(dataset, 40))
            images = f"audit of {score.labelled:,} images" if score.audited else f"{score.labelled:,} {score.split} images"
            axes.set_xlabel(f"top-1 accuracy, {images}" if measured else "agrees with the final method (no labels)")
        if len(comparison.runs) > 1:
            handles = [
                matplotlib.lines.Line2D(
                    [], [], marker=marks[number % len(marks)], linestyle="", color=INK if number == 0 else NEUTRAL,
                    markerfacecolor=INK if number == 0 else "white", label=short(run, 40),
                )
                for number, run in enumerate(comparison.runs)
            ]  # fmt: skip
            figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    save(figure, path)
