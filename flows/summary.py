"""The table at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.session import Results
from nola_core.methods.method import InForce
from nola_core.text import printable

MOST = 8
"""Of more methods than this, the table shows the baseline, the text classifier, the teacher and the final one."""


def print_summary(root: Path, results: Results, console: Console | None = None) -> None:
    """Print for each data set its stages, the top-1 accuracy of its methods, doubts about its names, and where its report is."""
    if not results:
        return
    console = console or Console(soft_wrap=True)
    datasets = list(dict.fromkeys(result.stage.dataset for result in results.values()))
    scores = {dataset: _top1(root / "data" / dataset / "metrics.json") for dataset in datasets}
    titles = list(dict.fromkeys(title for top1 in scores.values() for title in top1))
    table = Table("data set", "stages", title="NoLA: top-1 in %" if titles else "NoLA", title_justify="left")
    for title in titles:
        table.add_column(title, justify="right")
    for dataset in datasets:
        values = (scores[dataset].get(title) for title in titles)
        cells = ("" if value is None else f"{100 * value:.1f}" for value in values)
        table.add_row(dataset, results.of(dataset).tally(), *cells)
    console.print(table)
    for dataset in datasets:
        told = _verdict(root / "data" / dataset / "names.json")
        if told:
            console.print(printable(f"warning: {dataset}: {told}"), highlight=False, markup=False)
    for dataset in datasets:
        told = _corrections(root / "data" / dataset / "metrics.json")
        if told:
            console.print(printable(f"{dataset}: {told}"), highlight=False, markup=False)
    for dataset in datasets:
        report = root / "data" / dataset / "report.html"
        if report.is_file():
            console.print(str(report.absolute()), highlight=False, markup=False)


def _verdict(path: Path) -> str | None:
    """What a user must know of the class names; None if they say something, or there is no result yet."""
    from nola_core.trust.names import verdict

    try:
        return verdict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _corrections(path: Path) -> str:
    """What people gave; empty for a label-free result, or none."""
    from nola_core.corrections import sentence

    try:
        return sentence(json.loads(path.read_text(encoding="utf-8"))["corrections"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _top1(path: Path) -> dict[str, float]:
    """Title -> top-1 of the methods to show, in order; empty if there is no ground truth or no result yet."""
    try:
        metrics = json.loads(path.read_text())
        scores, in_force = metrics["methods"], InForce.of(metrics["in_force"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    shown = in_force.names
    if len(shown) > MOST:
        roles = (in_force.baseline, in_force.text_classifier, in_force.teacher, in_force.final)
        shown = [name for name in shown if name in roles]
    return {in_force[name].title: scores[name]["top1"] for name in shown if name in scores}
