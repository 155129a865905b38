"""`make demo`: run every stage on the digits, then print the accuracies. Run again, it finds everything up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.environment import child_environment
from nola_core.methods.method import InForce


def main() -> int:
    """Run the pipeline and print the table; the exit status is DVC's."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--glob", "*@digits*"]
    status = subprocess.run(command, cwd=root, env=child_environment()).returncode
    if status == 0:
        show(root / "data" / "digits")
    return status


def show(folder: Path) -> None:
    """Print the top-1 accuracy of every method, its gain over the baseline, and where the report is."""
    metrics = json.loads((folder / "metrics.json").read_text())
    in_force = InForce.of(metrics["in_force"])
    table = Table()
    table.add_column("method")
    table.add_column("top-1 %", justify="right")
    table.add_column("gain", justify="right")
    start = metrics["methods"][in_force.baseline]["top1"]
    for one in in_force.methods:
        top1 = metrics["methods"][one.name]["top1"]
        gain = "" if one.name == in_force.baseline else f"{100 * (top1 - start):+.1f}"
        table.add_row(one.title, f"{100 * top1:.1f}", gain, style="bold" if one.name == in_force.final else "")
    console = Console(width=80)
    console.print(f"{metrics['images']} held-out handwritten digits, no label used", highlight=False)
    console.print(table)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
