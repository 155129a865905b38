"""The table at the end of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.session import Results


def print_summary(root: Path, results: Results, console: Console | None = None) -> None:
    """Print for each data set its stages, the top-1 accuracy of each method and the path of its report."""
    if not results:
        return
    console = console or Console(soft_wrap=True)
    datasets = list(dict.fromkeys(result.stage.dataset for result in results.values()))
    scores = {dataset: _top1(root / "data" / dataset / "metrics.json") for dataset in datasets}
    methods = list(dict.fromkeys(method for top1 in scores.values() for method in top1))
    table = Table("data set", "stages", title="NoLA: top-1 in %" if methods else "NoLA", title_justify="left")
    for method in methods:
        table.add_column(method.replace("_", "-"), justify="right")
    for dataset in datasets:
        values = (scores[dataset].get(method) for method in methods)
        cells = ("" if value is None else f"{100 * value:.1f}" for value in values)
        table.add_row(dataset, results.of(dataset).tally(), *cells)
    console.print(table)
    for dataset in datasets:
        report = root / "data" / dataset / "report.html"
        if report.is_file():
            console.print(f"report: {os.path.relpath(report)}", highlight=False)


def _top1(path: Path) -> dict[str, float]:
    """Method -> top-1; empty without ground truth or results."""
    try:
        methods = json.loads(path.read_text())["methods"]
    except (OSError, ValueError, KeyError):
        return {}
    return {method: scores["top1"] for method, scores in methods.items() if "top1" in scores}
