"""`make demo`: every stage on the digits, then what came of it. Run again, it finds everything up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.environment import child_environment

TITLES = {
    "zero_shot": "zero-shot, class name in one template",
    "templates": "zero-shot, all templates",
    "cde": "class-description embedding (CDE)",
    "alignment": "alignment head on SSL features",
    "nola": "NoLA: CLIP with tuned prompts",
}


def main() -> int:
    """Run the pipeline and print the table; the exit status is DVC's."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--glob", "*@digits*"]
    status = subprocess.run(command, cwd=root, env=child_environment()).returncode
    if status == 0:
        show(root / "data" / "digits")
    return status


def show(folder: Path) -> None:
    """Print top-1 a method and where the report lies."""
    metrics = json.loads((folder / "metrics.json").read_text())
    table = Table(title=f"{metrics['images']} held-out handwritten digits, no label used", title_justify="left")
    table.add_column("method")
    table.add_column("top-1 %", justify="right")
    table.add_column("gain", justify="right")
    start = metrics["methods"]["zero_shot"]["top1"]
    for method, scores in metrics["methods"].items():
        gain = 100 * (scores["top1"] - start)
        table.add_row(TITLES.get(method, method), f"{100 * scores['top1']:.1f}", f"{gain:+.1f}" if gain else "")
    console = Console(width=80)
    console.print(table)
    console.print(f"pictures and evidence: {folder / 'report.html'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
