"""Page and picture of benchmarks/scale_methods.py, made of its table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from benchmarks.methods_page import markdown
from nola_core.files import replacing
from nola_core.report.style import new_figure, save, styled

NAME = "scale-methods"
COLUMNS = ["method", "rows", "fit_seconds", "answer_seconds", "seconds", "cpu_seconds", "us_per_image", "peak_mb", "recall"]
COLUMNS += ["top1", "top1_transductive", "threads", "load"]
GOAL_ROWS, GOAL_SECONDS, GOAL_MB = 100_000, 120, 6000
LEAST = 10_000
"""Images from which on the exponent is fitted."""


def exponent(part: pd.DataFrame) -> float:
    """Slope of log seconds on log images by least squares; NaN for fewer than two sizes."""
    part = part[part["rows"] >= LEAST]
    if len(part) < 2:
        return float("nan")
    return float(np.polyfit(np.log(part["rows"]), np.log(part["seconds"].clip(lower=0.01)), 1)[0])


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """A row a method: seconds at every size, the exponent, microseconds an image, memory and recall at the largest size."""
    sizes = sorted(set(table["rows"]))
    rows = []
    for method, part in table.groupby("method"):
        last = part.sort_values("rows").iloc[-1]
        seconds = part.set_index("rows")["seconds"]
        told = {f"{size:,}": f"{seconds[size]:,.1f}" if size in seconds else "" for size in sizes}
        slope = exponent(part)
        rows.append(
            {
                "method": method,
                **told,
                "exponent": "" if np.isnan(slope) else f"{slope:.2f}",
                "µs an image": f"{last['us_per_image']:,.0f}",
                "peak MB": f"{last['peak_mb']:,.0f}",
                "recall": recalls(part),
            }
        )
    made = pd.DataFrame(rows)
    return made.sort_values(f"{sizes[-1]:,}", key=lambda cells: pd.to_numeric(cells.str.replace(",", ""), errors="coerce"))


def recalls(part: pd.DataFrame) -> str:
    """From the smallest size with approximate search to the largest: `91 to 84 %`; empty where search is exact."""
    found = part.dropna(subset="recall").sort_values("rows")["recall"]
    if found.empty:
        return ""
    first, last = f"{found.iloc[0]:.0f}", f"{found.iloc[-1]:.0f}"
    return f"{first} %" if first == last else f"{first} to {last} %"


def sums(alone: pd.DataFrame, together: pd.DataFrame) -> pd.DataFrame:
    """A row a size: all methods after each other in one process, and the sum of what each takes alone."""
    columns = {"fit_seconds": "in one process: to fit", "answer_seconds": "to answer", "cpu_seconds": "of the CPU"}
    made = together.rename(columns={**columns, "peak_mb": "peak MB"})[["rows", *columns.values(), "peak MB", "load"]]
    apart = alone.groupby("rows", as_index=False).agg(methods=("method", "count"), seconds=("seconds", "sum"))
    made = apart.rename(columns={"seconds": "seconds each alone"}).merge(made, on="rows", how="left")
    for column in [name for name in made.columns if name not in ("methods", "load")]:
        made[column] = made[column].map(lambda value: "" if pd.isna(value) else f"{value:,.0f}")
    return made


def goal(together: pd.DataFrame) -> str:
    """Whether fitting all methods stays in time and memory at 100,000 images, in a sentence; and what answering adds."""
    part = together[together["rows"] == GOAL_ROWS]
    if part.empty:
        return f"All methods in one process were not measured on {GOAL_ROWS:,} images."
    fit, answer, most = (float(part[column].iloc[0]) for column in ("fit_seconds", "answer_seconds", "peak_mb"))
    words = [
        f"fitted in {fit:,.0f} seconds ({'within' if fit <= GOAL_SECONDS else 'more than'} the {GOAL_SECONDS} wanted)",
        f"at most {most:,.0f} MB ({'within' if most <= GOAL_MB else 'more than'} the {GOAL_MB:,} wanted)",
    ]
    again = f"Asking all of them about all images again, as about new ones, takes another {answer:,.0f} seconds."
    return f"{GOAL_ROWS:,} images, all training-free methods after each other in one process: {', '.join(words)}. {again}"


def growth(table: pd.DataFrame) -> str:
    """The largest exponent, in a sentence."""
    slopes = pd.Series({str(name): exponent(part) for name, part in table.groupby("method")}).dropna()
    if slopes.empty:
        return "One size alone says nothing about growth."
    top = sorted(set(table["rows"]))[-2:]
    last = pd.Series({str(name): exponent(part) for name, part in table[table["rows"].isin(top)].groupby("method")}).dropna()
    return (
        f"Seconds grow like N to the power of {slopes.min():.2f} ({slopes.idxmin()}) to {slopes.max():.2f} ({slopes.idxmax()}); "
        f"1 is linear, and {int((slopes > 1.1).sum())} of {len(slopes)} methods are above 1.1. "
        f"From {top[0]:,} to {top[-1]:,} alone the largest is {last.max():.2f} ({last.idxmax()})."
    )


def write(table: pd.DataFrame, folder: Path, *, trained: Sequence[str], left_out: Sequence[str], together: str) -> str:
    """scale-methods.md and .png; returns the page."""
    whole, table = table[table["method"] == together], table[table["method"] != together]
    apart = table["method"].isin(list(trained))
    free, steps = table[~apart], table[apart]
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "numpy"))
    threads = ", ".join(str(count) for count in sorted(set(table["threads"])))
    lines = [
        "# Methods on many images",
        "",
        f"    OMP_NUM_THREADS={threads} python -m benchmarks.scale_methods",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}.",
        "",
        goal(whole),
        growth(free),
        "",
        "Made features: 100 classes in two spaces of 768 dimensions, float16, centres and noise with a falling spectrum, read as",
        "memory maps. Every method and size has a process of its own, with its default options; in stage `fit`, which has one",
        "process for all, neighbours are searched once a space. `seconds` is wall-clock time to",
        "fit on all images and then answer all of them; the exponent is the slope of log seconds on log images. `peak MB` is the",
        "largest resident memory at the largest size, mapped files and some 700 MB of libraries included. If `load` is above the",
        "number of cores, other programs were running and seconds are too high; `cpu_seconds` are then nearer to what it costs.",
        "",
        "Methods with a graph search neighbours exactly up to 20,000 images. Beyond, they search an inverted file over 64",
        "principal components, and `recall` is the share of the nearest neighbours that it finds, on a sample. New images then",
        "find their neighbours among a sample of 20,000 images, first in 64 directions where the space is wide.",
        "",
        "## All methods together",
        "",
        *markdown(sums(free, whole)),
        "",
        "## Training-free methods: seconds by number of images",
        "",
        *markdown(by_method(free)),
        "",
        f"![Seconds of every method by images]({NAME}.png)",
        "",
    ]
    if len(steps):
        lines += ["## Methods that take a fixed number of gradient steps", "", *markdown(by_method(steps)), ""]
    if left_out:
        lines += [f"Not measured: {' and '.join(left_out)}, which train a head in epochs over the pseudo-labels.", ""]
    lines += [f"Every row, with accuracy on the made images: [{NAME}.csv]({NAME}.csv).", ""]
    with replacing(folder / f"{NAME}.md") as scratch:
        scratch.write_text("\n".join(lines))
    draw(table, folder / f"{NAME}.png")
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Seconds of each method against the number of images, on log scales; the dashed line shows linear growth."""
    with styled():
        figure = new_figure(7.2, 5.0)
        axes = figure.subplots()
        order = table.sort_values("rows").groupby("method")["seconds"].last().sort_values(ascending=False).index
        for place, method in enumerate(order):
            mine = table[table["method"] == method].sort_values("rows")
            style = ("-", "--", ":")[place // 10 % 3]
            axes.plot(
                mine["rows"], mine["seconds"].clip(lower=0.01), style, marker="o", markersize=3, linewidth=1.2, label=method
            )
        low, high = float(table["rows"].min()), float(table["rows"].max())
        slowest = float(table["seconds"].max())
        axes.plot([low, high], [slowest * low / high, slowest], color="#6B7280", linestyle="--", linewidth=1, label="linear")
        axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.grid()
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
        axes.set_title("Fitting on all images and answering all of them")
        save(figure, path)
