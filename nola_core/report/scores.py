"""The methods in rows: accuracies with intervals, signals, splits, and the most frequent errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nola_core.methods.method import InForce, Kind, Listed
from nola_core.report.style import percent, shown, signed
from nola_core.report.tables import Tables, gain_of, interval_of
from nola_core.trust import ranking

KINDS: Mapping[Kind, str] = {"text": "text method", "features": "feature method", "student": "student"}


@dataclass(frozen=True)
class Bar:
    """A measured accuracy with its 95 % interval, in percent."""

    value: float
    low: float
    high: float


def method_rows(tables: Tables) -> list[dict[str, str]]:
    """The table of methods on the reported split: texts ready to show; figures are empty without ground truth."""
    rows = []
    for one in tables.in_force.methods:
        row = {"method": one.name, "name": one.title, "what": f"{_roles(tables.in_force, one)}: {one.summary}"}
        scores = tables.metrics["methods"].get(one.name)
        if scores:
            low, high = interval_of(tables, one.name)
            row |= {key: percent(scores[key]) for key in ("top1", "top5", "mean_per_class", "ece")}
            row["interval"] = f"{100 * low:.1f} – {100 * high:.1f}"
            gain = gain_of(tables, one.name)
            row["gain"] = "" if one.name == tables.baseline or gain is None else signed(gain.mean)
        free = tables.label_free().get(one.name)
        if free:
            row |= {name: f"{free[name]:.3f}" for name in ranking.RANKED if name in free}
            row["variety"] = f"{free['answer_nuclear_norm']:.3f}"
            row["entropy"] = f"{free['mean_prediction_entropy']:.3f}"
        rows.append(row)
    return rows


def bars(tables: Tables) -> dict[str, Bar]:
    """Method -> its accuracy on the reported split; empty without ground truth."""
    found = {}
    for name in tables.metrics["methods"]:
        low, high = interval_of(tables, name)
        found[name] = Bar(100 * tables.metrics["methods"][name]["top1"], 100 * low, 100 * high)
    return found


def ranked(tables: Tables) -> list[tuple[str, str, str]]:
    """(name, title, sentence) of the signals that rank methods; none where they were not computed."""
    found = tables.label_free().values()
    return [
        (name, ranking.TITLES[name], f"{ranking.sentence(name)[0].upper()}{ranking.sentence(name)[1:]}.")
        for name in ranking.RANKED
        if found and all(name in one for one in found)
    ]


def accuracy_rows(tables: Tables) -> list[tuple[str, str, list[str]]]:
    """(name, title, top-1 on each labelled split, in order of `metrics["splits"]`) of every method."""
    splits = tables.metrics["splits"].values()
    return [(name, tables.title(name), [percent(scores[name]["top1"]) for scores in splits]) for name in tables.methods]


def confused_pairs(tables: Tables, most: int = 10) -> list[tuple[str, str, int]]:
    """The most frequent errors of the final method: actual class, predicted class, images."""
    errors = tables.confusion[tables.confusion["actual"] != tables.confusion["predicted"]]
    counts = errors.groupby(["actual", "predicted"], as_index=False).size()
    first = counts.sort_values("size", ascending=False, kind="stable").head(most)
    pairs = zip(first["actual"], first["predicted"], first["size"], strict=True)
    return [(shown(actual), shown(predicted), int(count)) for actual, predicted, count in pairs]


def _roles(in_force: InForce, one: Listed) -> str:
    """The kind of a method and the parts it plays: `Feature method, teacher`."""
    parts = {
        "baseline": in_force.baseline,
        "text classifier": in_force.text_classifier,
        "teacher": in_force.teacher,
        "final method": in_force.final,
    }
    words = ", ".join([KINDS[one.kind], *(part for part, name in parts.items() if name == one.name)])
    return words[0].upper() + words[1:]
