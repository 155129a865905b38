"""What benchmarks/signals.py found, from its cells: errors as estimates, pairs ranked, and the page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.methods_page import markdown
from nola_core.files import replacing

SHARES = ("confidence", "nuclear_norm", "answer_nuclear_norm", "cot", "cot_own", "zero_shot_agreement", "vote_agreement",
          "neighbors_clip", "neighbors_ssl", "learnable_clip", "learnable_ssl", "head_agreement", "gde")  # fmt: skip
"""Signals that somebody could read as an accuracy."""
RANKERS = ("confidence", "nuclear_norm", "answer_nuclear_norm", "prediction_entropy", "infomax", "snd", "mano", "cot", "cot_own",
           "zero_shot_agreement", "vote_agreement", "neighbors_clip", "neighbors_ssl", "learnable_clip", "learnable_ssl",
           "head_agreement")  # fmt: skip
SIGNALS = (*RANKERS, "gde")
COLLECTIONS = ("digits", "caltech101", "cifar10", "whurs19")
ELSEWHERE, CONSTANT = "order_elsewhere", "constant guess"
APART = 0.01
"""Accuracies this close are not a pair to order."""
ENOUGH = 5
"""Draws of each kind that `same_pair` needs."""
DRAW = ["dataset", "variant", "seed"]
BEGIN, END = "<!-- tables: written by benchmarks/signals.py -->", "<!-- end of tables -->"


def collection(dataset: pd.Series) -> pd.Series:
    """`whurs19-b32-l14` -> `whurs19`."""
    return dataset.str.split("-").str[0]


def errors(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error in points, a row a signal, a column a bed, and the mean over collections; best first."""
    top1, group = cells["top1"], collection(cells["dataset"])
    by_bed = cells.groupby("dataset")["top1"].mean()
    means = by_bed.groupby(by_bed.index.str.split("-").str[0]).mean()
    guess = group.map({name: means.drop(name).mean() for name in means.index})
    found = {name: (cells[name] - top1).abs() for name in SHARES} | {CONSTANT: (guess - top1).abs()}
    rows = []
    for name, error in found.items():
        beds = 100 * error.groupby(cells["dataset"]).mean()
        rows.append({"signal": name, **beds.round(1), "mean": round(float(_over_collections(beds).mean()), 1)})
    return pd.DataFrame(rows).sort_values("mean", kind="stable", ignore_index=True)


def _over_collections(by_bed: pd.Series) -> pd.Series:
    """The mean of every collection, from a value a bed."""
    means = by_bed.groupby(by_bed.index.astype(str).str.split("-").str[0]).mean()
    return means.reindex([name for name in COLLECTIONS if name in means.index])


def pairs(cells: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Pairs of methods of a draw whose accuracies differ: 1, 1/2 or 0 for every signal, and its signed difference.

    Differences are of a less b, with a before b in the alphabet.
    """
    by_bed = cells.groupby(["dataset", "method"])["top1"].mean().unstack()
    by_collection = by_bed.groupby(by_bed.index.str.split("-").str[0]).mean()
    elsewhere = {name: by_collection.drop(name).mean() for name in by_collection.index}
    for (dataset, variant, seed), draw in cells.groupby(DRAW, sort=False):
        rows = draw.set_index("method").sort_index()
        rows = rows.assign(**{ELSEWHERE: elsewhere[str(dataset).split("-")[0]].reindex(rows.index)})
        names, values = [*RANKERS, ELSEWHERE], rows[["top1", *RANKERS, ELSEWHERE]].to_numpy(dtype=float)
        for one, other in combinations(range(len(rows)), 2):
            gap, *differences = (values[one] - values[other]).tolist()
            if abs(gap) >= APART:
                told = {
                    "dataset": dataset,
                    "variant": variant,
                    "seed": seed,
                    "a": rows.index[one],
                    "b": rows.index[other],
                    "gap": gap,
                }
                for name, difference in zip(names, differences, strict=True):
                    told[name] = difference
                    told[f"{name} right"] = 0.5 * (1 + np.sign(difference) * np.sign(gap))
                yield told


def same_pair(compared: pd.DataFrame, name: str) -> float:
    """Mean over pairs of methods of the probability that a signal's difference is larger where the first wins; NaN if none."""
    found = []
    for _, part in compared.groupby(["a", "b"]):
        wins, losses = part.loc[part["gap"] > 0, name].to_numpy(), part.loc[part["gap"] < 0, name].to_numpy()
        if min(len(wins), len(losses)) >= ENOUGH:
            difference = wins[:, None] - losses[None, :]
            found.append(float(0.5 * (1 + np.sign(difference)).mean()))
    return float(np.mean(found)) if found else float("nan")


def picked(cells: pd.DataFrame, name: str, against: str) -> float:
    """Mean over collections of top-1 of the method with the highest signal less that of another, points."""
    gains: dict[str, list[float]] = {}
    for (dataset, *_), draw in cells.groupby(DRAW):
        top1 = draw.set_index("method")["top1"]
        best = str(draw.set_index("method")[name].idxmax())
        gains.setdefault(str(dataset), []).append(100 * float(top1[best] - top1[against]))
    return float(_over_collections(pd.Series({bed: np.mean(found) for bed, found in gains.items()})).mean())


def ranking(cells: pd.DataFrame) -> pd.DataFrame:
    """A row a signal: pairs ordered rightly in percent, by collection and on the mean with its interval; best first."""
    compared = pd.DataFrame(pairs(cells))
    rows = []
    for name in (*RANKERS, ELSEWHERE):
        beds = 100 * compared.groupby("dataset")[f"{name} right"].mean()
        shares = _over_collections(beds)
        half = float(stats.t.ppf(0.975, len(shares) - 1) * stats.sem(shares)) if len(shares) > 1 else float("nan")
        taus = pd.Series(dtype=float)
        if name != ELSEWHERE:
            found = [
                (str(dataset), float(stats.kendalltau(draw["top1"], draw[name])[0]))
                for (dataset, *_), draw in cells.groupby(DRAW)
            ]
            taus = pd.DataFrame(found, columns=["dataset", "tau"]).set_index("dataset")["tau"]
            taus = _over_collections(taus.groupby("dataset").mean())
        mean = float(shares.mean())
        rows.append(
            {
                "signal": name,
                **shares.round(1),
                "mean": round(mean, 1),
                "low": round(mean - half, 1),
                "high": round(mean + half, 1),
                "tau": round(float(taus.mean()), 2) if len(taus) else np.nan,
                "same_pair": round(100 * same_pair(compared, name), 1),
                "pick_over_templates": round(picked(cells, name, "templates"), 1) if name != ELSEWHERE else np.nan,
                "pick_over_evidence": round(picked(cells, name, "evidence"), 1) if name != ELSEWHERE else np.nan,
                "survives": "" if name == ELSEWHERE else "yes" if bool((shares > 50).all()) and mean - half > 50 else "no",
            }
        )
    return pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def by_variant(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """Pairs that a signal orders rightly in percent: a row a variant, a column a collection, and their mean."""
    compared = pd.DataFrame(pairs(cells))
    rows = []
    for variant, part in compared.groupby("variant", sort=False):
        shares = _over_collections(100 * part.groupby("dataset")[f"{name} right"].mean())
        rows.append({"variant": variant, **shares.round(1), "mean": round(float(shares.mean()), 1)})
    return pd.DataFrame(rows)


def write(cells: pd.DataFrame, folder: Path) -> None:
    """signals.csv, signals.png, and the tables of signals.md; what stands around them there is kept."""
    off, ranked = errors(cells), ranking(cells)
    made = ranked.merge(off.add_prefix("mae_").rename(columns={"mae_signal": "signal"}), on="signal", how="outer")
    with replacing(folder / "signals.csv") as scratch:
        made.to_csv(scratch, index=False)
    lines = ["## As an estimate of accuracy: mean absolute error, points", "", *markdown(off), ""]
    lines += ["## As a ranker: pairs of methods ordered as their accuracy does, percent", "", *markdown(ranked), ""]
    lines += [
        "## neighbors_ssl by variant: pairs ordered rightly, percent",
        "",
        *markdown(by_variant(cells, "neighbors_ssl")),
        "",
    ]
    page = folder / "signals.md"
    around = page.read_text() if page.is_file() else f"# Signals\n\n{BEGIN}\n{END}\n"
    before, after = around.split(BEGIN)[0], around.split(END)[1]
    with replacing(page) as scratch:
        scratch.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}")
    picture(off, ranked, folder / "signals.png")
    print("\n".join(lines))


def picture(off: pd.DataFrame, ranked: pd.DataFrame, file: Path) -> None:
    """Left, pairs ordered rightly by collection, with the interval of the mean; right, the errors as an estimate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 6.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = dict(zip(COLLECTIONS, ["#000000", "#0072b2", "#56b4e9", "#d55e00"], strict=True))
    places = np.arange(len(ranked))[::-1]
    left.axvline(50, color="#999999", linewidth=1)
    left.hlines(places, ranked["low"], ranked["high"], color="#bbbbbb", linewidth=3)
    left.scatter(ranked["mean"], places, marker="|", s=200, color="#444444")
    errors_of = off.melt(["signal", "mean"], var_name="dataset", value_name="error")
    rows = {name: len(off) - 1 - row for row, name in enumerate(off["signal"])}
    for name, colour in colours.items():
        if name in ranked:
            left.scatter(ranked[name], places, s=28, color=colour, label=name, zorder=3)
        mine = errors_of[collection(errors_of["dataset"]) == name]
        right.scatter(mine["error"], [rows[one] for one in mine["signal"]], s=28, color=colour)
    left.set_yticks(
        places, [f"{name} *" if kept == "yes" else name for name, kept in zip(ranked["signal"], ranked["survives"], strict=True)]
    )
    left.set(xlim=(0, 100), xlabel="pairs of methods ordered rightly, %; bar: 95 % interval over collections; * survives")
    right.set_yticks(list(rows.values()), list(rows))
    right.set(xlim=(0, None), xlabel="mean absolute error as an estimate of accuracy, points; a dot a bed")
    for panel in (left, right):
        panel.grid(axis="y", color="#eeeeee")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    with replacing(file) as scratch:
        figure.savefig(scratch, dpi=110, format="png")
