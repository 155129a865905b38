"""The tables of benchmarks/results/names.md, made of the rows of benchmarks/names.py.

python -m benchmarks.names_page
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from benchmarks import beds
from benchmarks.names import FILE, RESULTS, SINGLE
from nola_core.files import replacing
from nola_core.trust import names as trust

CHOOSING = ("digits", "cifar10")
RULE = "wins_centred"
FIGURES = {
    "agreement": "agreement of neighbours, against shuffled answers",
    "information": "information of neighbours",
    "agreement_z_turned": "agreement, against turned vectors (z)",
    "information_z_turned": "information, against turned vectors (z)",
    "agreement_z_words": "agreement, against nouns (z)",
    "information_z_words": "information, against nouns (z)",
    "used": "classes the answers use",
    "wins": "wins over nouns, cosines as they are",
    "wins_centred": "wins over nouns, each text's mean taken off",
}
BEGIN, END = "<!-- tables: written by benchmarks/names_page.py -->", "<!-- end of tables -->"


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The lists with `informative`: True, False, or None for those in between, which count nowhere."""
    keys = ["dataset", "variant", "seed"]
    right = rows[rows["kind"] == "right"].set_index(keys)["top1_renamed"].rename("right")
    rows = rows.join(right, on=keys)
    kept = (rows["top1_renamed"] - rows["majority"]) / (rows["right"] - rows["majority"]).clip(lower=1e-9)
    good = rows["kind"].isin(["right", "renamed"])
    bad = ~good & (kept < 0.5) & (rows["kind"] != "half")
    return rows.assign(informative=good.astype(object).where(good | bad, None), kept=kept)


def candidates(rows: pd.DataFrame) -> pd.DataFrame:
    """Every figure with the largest threshold without a false alarm on the beds for choosing, and its rates."""
    chosen = rows["dataset"].isin(CHOOSING)
    good, bad = rows["informative"].eq(True), rows["informative"].eq(False)
    table = []
    for figure, title in FIGURES.items():
        least = rows.loc[chosen & good, figure].min()
        alarm = rows[figure] < least
        table.append(
            {
                "figure": title,
                "threshold": round(float(least), 2),
                "detected, choosing": _rate(alarm[chosen & bad]),
                "detected, kept aside": _rate(alarm[~chosen & bad]),
                "false alarms, kept aside": _rate(alarm[~chosen & good]),
            }
        )
    return pd.DataFrame(table)


def by_kind(rows: pd.DataFrame) -> pd.DataFrame:
    """Alarms of the product's rule by bed and kind of list; all lists, also those in between."""
    rows = rows.assign(alarm=rows[RULE] < trust.WINS)
    table = []
    for (dataset, kind), part in rows.groupby(["dataset", "kind"], sort=False):
        table.append(
            {
                "bed": dataset,
                "list": kind,
                "says, share of the right names": f"{part['kept'].mean():.2f}",
                "wins, from": f"{part[RULE].min():.2f}",
                "to": f"{part[RULE].max():.2f}",
                "alarms": _rate(part["alarm"]),
            }
        )
    return _ordered(pd.DataFrame(table))


def by_variant(rows: pd.DataFrame) -> pd.DataFrame:
    """False alarms of the product's rule on informative lists, by bed and variant, with the lowest figure of each."""
    good = rows[rows["informative"].eq(True)].assign(alarm=lambda one: one[RULE] < trust.WINS)
    groups = good.groupby(["dataset", "variant"])
    alarms = groups["alarm"].sum().map(lambda count: f" ({count})" if count else "")
    cells = groups[RULE].min().map("{:.2f}".format) + alarms
    wide = cells.unstack().reindex(columns=list(beds.VARIANTS)).reset_index().rename(columns={"dataset": "bed"})
    return _ordered(wide)


def singles(names: pd.DataFrame) -> pd.DataFrame:
    """How many names are called weak (rank below `trust.RANK`), by bed and what they are."""
    names = names.assign(weak=names["peak_rank"] < trust.RANK)
    table = []
    for dataset, part in names.groupby("dataset", sort=False):
        good, bad = part[~part["bad"]], part[part["bad"]]
        table.append(
            {
                "bed": dataset,
                "replaced": _rate(bad["weak"]),
                "right, of a class that occurs": _rate(good[good["occurs"]]["weak"]),
                "right, of a class that does not": _rate(good[~good["occurs"]]["weak"]),
            }
        )
    return _ordered(pd.DataFrame(table))


def _rate(values: pd.Series[bool]) -> str:
    return f"{values.mean():.0%} of {len(values):,}" if len(values) else "-"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("bed", key=lambda bed: bed.map(beds.BEDS.index), kind="stable", ignore_index=True)


def markdown(table: pd.DataFrame) -> str:
    """The table, its first column to the left."""
    lines = [" | ".join(map(str, table.columns)), "|".join(["---"] * len(table.columns))]
    lines += [" | ".join(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def main() -> int:
    """Write the tables into names.md."""
    lists, names = (pd.read_csv(RESULTS / file) for file in (FILE, SINGLE))
    rows = judged(lists)
    parts = {
        "Candidates": candidates(rows),
        "The rule, by kind of list": by_kind(rows),
        "Informative lists: lowest figure, and false alarms in brackets": by_variant(rows),
        "Single names called weak": singles(names),
    }
    text = "\n\n".join(f"### {title}\n\n{markdown(table)}" for title, table in parts.items())
    page = RESULTS / "names.md"
    before, rest = page.read_text().split(BEGIN)
    with replacing(page) as scratch:
        Path(scratch).write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
