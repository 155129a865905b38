"""Tables and picture of benchmarks/methods.py, made of its cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import beds
from nola_core.files import replacing

COLUMNS = ["dataset", "variant", "method", "protocol", "backbones", "seeds", "top1_mean", "top1_std", "gain_over_zero_shot"]
COLUMNS += ["seconds", "peak_mb"]
BEGIN, END = "<!-- tables: written by benchmarks/methods.py -->", "<!-- end of tables -->"
BEHIND = 1.0
"""Points behind zero-shot from which on a cell counts as behind."""


def table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row a data set, variant, method and protocol, columns `COLUMNS`; percent and points."""
    backbones = beds.PROJECTS | {name: " : ".join(pair) for name, pair in beds.WHU.items()}
    keys = ["dataset", "variant", "method", "options", "protocol"]
    rows = []
    for key, part in cells.groupby(keys, sort=False):
        dataset, variant, method, options, protocol = map(str, key)
        rows.append(
            {
                "dataset": dataset,
                "variant": variant,
                "method": f"{method} {options}".strip(),
                "protocol": protocol,
                "backbones": backbones[dataset],
                "seeds": " ".join(map(str, sorted(part["seed"]))),
                "top1_mean": round(part["top1"].mean(), 2),
                "top1_std": round(part["top1"].std(ddof=1), 2) if len(part) > 1 else np.nan,
                "gain_over_zero_shot": round((part["top1"] - part["zero_shot"]).mean(), 2),
                "seconds": round(part["seconds"].mean(), 2),
                "peak_mb": round(part["peak_mb"].mean()),
            }
        )
    made = pd.DataFrame(rows, columns=COLUMNS)
    for column, order in (("variant", beds.VARIANTS), ("dataset", beds.BEDS)):
        made[column] = pd.Categorical(made[column], order)
    return made.sort_values(["protocol", "method", "dataset", "variant"], ignore_index=True)


def means(made: pd.DataFrame, *, cells: int | None = None) -> pd.DataFrame:
    """A row a method: mean top-1 over the beds for every variant, and how it stands to zero-shot; best mean gain first.

    Args:
        made: rows of `table`, of one protocol.
        cells: beds x variants that a complete method has; None: as many as `made` has.
    """
    cells = cells or len(made[["dataset", "variant"]].drop_duplicates())
    rows = []
    for method, part in made.groupby("method", sort=False):
        part = part.reset_index(drop=True)
        gains = part["gain_over_zero_shot"]
        worst = part.iloc[int(gains.argmin())]
        by_variant = part.groupby("variant", observed=False)["top1_mean"].mean().reindex(list(beds.VARIANTS))
        rows.append(
            {
                "method": method,
                **{variant: round(by_variant[variant], 1) for variant in beds.VARIANTS},
                "mean": round(part["top1_mean"].mean(), 1),
                "gain": round(gains.mean(), 1) + 0.0,  # no -0.0
                "worst": f"{gains.min():+.1f} ({worst['dataset']}, {worst['variant']})",
                "behind": f"{int((gains < -BEHIND).sum())} of {len(part)}" + ("" if len(part) == cells else " (not all beds)"),
                "seconds": round(part["seconds"].mean(), 1),
            }
        )
    return pd.DataFrame(rows).sort_values("gain", ascending=False, kind="stable", ignore_index=True)


def markdown(frame: pd.DataFrame) -> list[str]:
    """A table's lines."""
    rows = [["" if isinstance(value, float) and np.isnan(value) else str(value) for value in row] for row in frame.to_numpy()]
    return [f"| {' | '.join(row)} |" for row in (list(frame.columns), ["---"] * len(frame.columns), *rows)]


def write(cells: pd.DataFrame, folder: Path) -> None:
    """methods.csv, methods.png, and the tables of methods.md; what stands around them there is kept."""
    made = table(cells)
    with replacing(folder / "methods.csv") as scratch:
        made.to_csv(scratch, index=False)
    inductive, transductive = (made[made["protocol"] == name] for name in ("inductive", "transductive"))
    lines = ["## Inductive: fitted on the train images, asked about the test images", "", *markdown(means(inductive)), ""]
    if len(transductive):
        lines += ["## Transductive: the answers for the train images themselves", "", *markdown(means(transductive)), ""]
    page = folder / "methods.md"
    around = page.read_text() if page.is_file() else f"# Methods\n\n{BEGIN}\n{END}\n"
    before, after = around.split(BEGIN)[0], around.split(END)[1]
    with replacing(page) as scratch:
        scratch.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}")
    picture(inductive, folder / "methods.png")
    print("\n".join(lines))


def write_race(cells: pd.DataFrame, folder: Path) -> None:
    """methods-race.md: the settings of every family on the train images, best mean gain first."""
    made = table(cells)
    told = means(made)
    told.insert(0, "family", told["method"].str.split().str[0])
    told["method"] = told["method"].str.split(n=1).str[1].fillna("defaults")
    told = told.rename(columns={"method": "options"})
    lines = ["# The race: settings on the train images", ""]
    lines += ["Written by `python -m benchmarks.methods --settings`. Columns as in [methods.md](methods.md).", ""]
    for family, part in told.groupby("family", sort=False):
        lines += [f"## {family}", "", *markdown(part.drop(columns="family")), ""]
    with replacing(folder / "methods-race.md") as scratch:
        scratch.write_text("\n".join(lines))
    print("\n".join(lines))


def picture(made: pd.DataFrame, file: Path) -> None:
    """Gain over zero-shot, a dot a cell: a row a method, a panel a variant, a colour a bed."""
    from matplotlib.figure import Figure

    order = means(made)["method"].tolist()[::-1]
    labels = [name.split()[0] + (" *" if " " in name else "") for name in order]
    figure = Figure(figsize=(17, 1.6 + 0.3 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(beds.VARIANTS), sharey=True, sharex=True)
    colours = dict(zip(beds.BEDS, ["#000000", "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73"], strict=True))
    for panel, variant in zip(panels, beds.VARIANTS, strict=True):
        panel.axvline(0, color="#999999", linewidth=1)
        part = made[made["variant"] == variant]
        for bed, colour in colours.items():
            mine = part[part["dataset"] == bed]
            rows = [order.index(name) for name in mine["method"]]
            panel.scatter(mine["gain_over_zero_shot"].clip(-25, 25), rows, s=18, color=colour, label=bed, alpha=0.85)
        panel.set(title=variant, xlim=(-26, 26))
        panel.grid(axis="y", color="#eeeeee")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(order)), labels)
    figure.supxlabel(
        "gain over zero-shot, points of top-1 on the test images (beyond 25: at the edge); * not its defaults, see methods.md"
    )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(beds.BEDS), frameon=False)
    with replacing(file) as scratch:
        figure.savefig(scratch, dpi=110, format="png")
