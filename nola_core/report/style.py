"""Titles, colours and saving: what all pictures and the page have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nola_core import files
from nola_core.methods.method import InForce

# Okabe & Ito's palette, which people with any colour vision tell apart; meaning never rests on colour alone.
RIGHT = "#009E73"
WRONG = "#D55E00"
NEUTRAL = "#6B7280"
INK = "#1F2933"
FAINT = "#D9DEE4"

KNOWN: Mapping[str, str] = {
    "zero_shot": "#A3ABB6",
    "templates": "#737D8A",
    "cde": "#56B4E9",
    "alignment": "#E69F00",
    "nola": "#0072B2",
}
"""The colours of NoLA's own ladder, the same in every project."""
PALETTE = ("#A62121", "#882BD9", "#BFA07C", "#734B4B", "#D9712B", "#8C317A", "#BF7CBB", "#8C755B")
"""Of all other methods in their order, then again from the start. Chosen one by one: each is the farthest (CIELAB) from `KNOWN`
and from those before it under normal, protan, deutan and tritan vision, with a contrast of at least 2.3 to white and to black."""

DPI = 150

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a class name may hold a dollar sign
    "text.color": INK,
    "axes.edgecolor": "#9AA5B1",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": "#52606D",
    "ytick.color": "#52606D",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Look:
    """How a method is shown, the same in every picture and table."""

    title: str
    colour: str


def looks(in_force: InForce) -> dict[str, Look]:
    """The look of every method in force, by name and in their order."""
    others = [name for name in in_force.names if name not in KNOWN]
    colours = {**KNOWN, **{name: PALETTE[place % len(PALETTE)] for place, name in enumerate(others)}}
    return {one.name: Look(one.title, colours[one.name]) for one in in_force.methods}


def percent(fraction: float, digits: int = 1) -> str:
    """0.834 -> `83.4 %`, with a space that does not break."""
    return f"{100 * fraction:.{digits}f}\u00a0%"


def signed(fraction: float, digits: int = 1) -> str:
    """0.105 -> `+10.5` and -0.02 -> `−2.0`: points of a change, with a true minus sign."""
    return f"{100 * fraction:+.{digits}f}".replace("-", "\u2212")


def short(text: str, width: int = 22) -> str:
    """At most `width` characters, cut with an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib settings of the report for everything drawn inside."""
    with matplotlib.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that belongs to no window and no pyplot state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG atomically, the same bytes for the same figure."""
    with styled(), files.replacing(path) as scratch:
        figure.savefig(scratch, format="png", dpi=DPI, metadata={"Software": None})
    return path
