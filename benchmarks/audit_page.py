"""The page benchmarks/results/audit.md, from the table beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

AGAINST = ("simple", "simple, finite", "ppi++", "half neyman", "old design", "stopped early")
WAYS = {
    "audit": "what `nola audit` does: five strata by confidence in proportion to their size, Korn-Graubard interval",
    "simple": "simple random sample, Clopper-Pearson interval: exact, whatever it was drawn from",
    "simple, finite": "the same sample with the exact interval for a finite population (hypergeometric)",
    "ppi++": "the same sample, PPI++: the confidence stands for the images that were not judged, normal interval",
    "half neyman": "`audit` with half of the labels allocated by the expected deviation of each stratum",
    "old design": "`audit` with the sample that was drawn for the bed's first method, for judging another method",
    "stopped early": "`audit` by somebody who looks after every five labels, from ten on, and keeps the most favourable figure",
}


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write the page."""
    (folder / "audit.md").write_text("\n".join(_lines(table)) + "\n")


def _lines(table: pd.DataFrame) -> list[str]:
    audits, populations = int(table["audits"].iloc[0]), table.drop_duplicates(["bed", "method"])
    mine = table[table["way"] == "audit"]
    lines = [
        "# How well an audit measures",
        "",
        "    python -m benchmarks.beds     # once: embed digits and the photographs",
        "    python -m benchmarks.audit    # this page and audit.csv",
        "",
        f"{len(populations)} populations (the test images of six beds, each with the answers of one method), {audits:,}",
        "simulated audits for each. A method whose answers are those of another on the same bed is left out. The text methods of",
        "the two WHU-RS19 beds with B/32 as text space are the same populations. No label is used but to answer and to score.",
        "",
        f"`nola audit` held the accuracy in {mine['coverage'].min():.1%} to {mine['coverage'].max():.1%} of the audits; 95 % are",
        "promised. The interval is on the safe side: where the confidence tells much, it could be narrower.",
        "",
        "## Ways",
        "",
        "| way | |",
        "|---|---|",
        *(f"| {way} | {words} |" for way, words in WAYS.items()),
        "",
        "## Means over the populations",
        "",
        "Coverage in percent (the least of any population in brackets), width in points (and its change against `simple`).",
        "`old design` is about second and third methods only. Bias is the mean error of the estimate in points.",
        "",
        *_means(table),
        "",
        "## What helps and what does not",
        "",
        *_said(table),
        "",
        "## Every population",
        "",
        "Width in points, coverage in percent in brackets.",
    ]
    for labels in sorted(table["labels"].unique()):
        lines += ["", f"### {labels} labels", "", *_each(table[table["labels"] == labels])]
    return lines


def _means(table: pd.DataFrame) -> list[str]:
    numbers = sorted(table["labels"].unique())
    rows = [
        "| way |" + "".join(f" {n} labels: coverage | width | bias |" for n in numbers),
        "|---|" + "---:|---:|---:|" * len(numbers),
    ]
    simple = table[table["way"] == "simple"].set_index(["bed", "method", "labels"])["width"]
    for way in WAYS:
        cells = []
        for labels in numbers:
            some = table[(table["way"] == way) & (table["labels"] == labels)]
            base = simple.loc[list(some[["bed", "method", "labels"]].itertuples(index=False, name=None))].mean()
            width = some["width"].mean()
            change = "" if way == "simple" else f" ({100 * (width / base - 1):+.0f} %)"
            cells += [f"{100 * some['coverage'].mean():.1f} ({100 * some['coverage'].min():.1f})"]
            cells += [f"{100 * width:.1f}{change}", f"{100 * some['bias'].mean():+.1f}"]
        rows.append(f"| {way} | " + " | ".join(cells) + " |")
    return rows


def _said(table: pd.DataFrame) -> list[str]:
    """Sentences with figures from the table."""

    def of(way: str, labels: int, column: str = "width") -> pd.Series:
        return table[(table["way"] == way) & (table["labels"] == labels)].set_index(["bed", "method"])[column]

    narrower = ", ".join(f"{100 * (1 - of('audit', n).mean() / of('simple', n).mean()):.0f}" for n in (30, 50, 100))
    finite = ", ".join(f"{100 * (1 - of('audit', n).mean() / of('simple, finite', n).mean()):.0f}" for n in (30, 50, 100))
    gains = 1 - of("audit", 50) / of("simple", 50)
    old = of("old design", 50)
    again = of("audit", 50).loc[old.index]
    stopped = of("stopped early", 50, "bias")
    covered, half, mine = of("ppi++", 30, "coverage"), of("half neyman", 50), of("audit", 50)
    return [
        f"- Stratifying by confidence makes intervals {narrower} % narrower than Clopper-Pearson's (30, 50, 100 labels), and",
        f"  {finite} % narrower than the exact interval for a finite population. With 50 labels the gain over Clopper-Pearson is "
        f"{100 * gains.min():.0f} to {100 * gains.max():.0f} %.",
        "- PPI++ with a normal interval does not hold what it promises: with 30 labels it covers "
        f"{100 * covered.min():.0f} % where nearly every",
        f"  answer is right, and {100 * covered.mean():.0f} % on the mean. We do not use it.",
        "- Neyman's allocation (more labels where the classifier is in doubt) does not help: width "
        f"{100 * half.mean():.1f} against {100 * mine.mean():.1f} points",
        "  with 50 labels. Proportional strata are simpler, and serve a later classifier as well.",
        "- A sample drawn for another classifier stays valid. With 50 labels it changes the width by "
        f"{100 * (old.mean() / again.mean() - 1):+.1f} %.",
        "- Looking on the way and stopping at the best figure makes the estimate "
        f"{100 * stopped.mean():.0f} points too high on the mean (up to 50",
        "  labels). So the page shows no figure before the end.",
    ]


def _each(table: pd.DataFrame) -> list[str]:
    ways: Sequence[str] = ("audit", *AGAINST)
    rows = ["| bed | method | accuracy | images | " + " | ".join(ways) + " |", "|---|---|---:|---:|" + "---:|" * len(ways)]
    for (bed, method), some in table.groupby(["bed", "method"], sort=False):
        found = some.set_index("way")
        cells = [
            f"{100 * found['width'][way]:.1f} ({100 * found['coverage'][way]:.1f})" if way in found.index else "" for way in ways
        ]
        rows.append(
            f"| {bed} | {method} | {100 * found['accuracy'].iloc[0]:.1f} | {found['images'].iloc[0]} | "
            + " | ".join(cells)
            + " |"
        )
    return rows
