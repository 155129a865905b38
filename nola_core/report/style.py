"""Titles, colours and saving: what all pictures and the page have in common."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup
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

THEMED: Mapping[str, str] = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    "#9AA5B1": "var(--soft)",
    "#52606D": "var(--soft)",
    NEUTRAL: "var(--neutral)",
    "#ffffff": "var(--page)",
}
"""Colours of the plots that the page changes with the reader's light or dark scheme."""

SHOWN_LETTERS = 80
"""Letters of a name that the page shows, unless more are asked for."""
JOINER = "\u200d"
"""Of emoji; the one invisible character that is left as it is."""

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


def probability(fraction: float) -> str:
    """`83 %`; what would be rounded to a certainty is shown as more than 99."""
    return ">\u00a099\u00a0%" if fraction > 0.995 else percent(fraction, 0)


def signed(fraction: float, digits: int = 1) -> str:
    """0.105 -> `+10.5` and -0.02 -> `−2.0`: points of a change, with a true minus sign."""
    return f"{100 * fraction:+.{digits}f}".replace("-", "\u2212")


def short(text: str, width: int = 22) -> str:
    """At most `width` characters, cut with an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def shown(text: object, width: int = SHOWN_LETTERS) -> str:
    """A name or a text that somebody else wrote, for a page: cut, control characters as escapes, and kept apart from what is
    around it where it is written from right to left. Markup is escaped by the template.
    """
    cut = short(" ".join(str(text).split()), width)
    visible = "".join(
        one if one.isprintable() or one == JOINER else one.encode("unicode_escape", "surrogatepass").decode("ascii")
        for one in cut
    )
    backwards = any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in visible)
    return f"\u2068{visible}\u2069" if backwards else visible  # first strong isolate, pop isolate


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib settings of the report for everything drawn inside."""
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a class name; the page has it as text
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


def inlined(figure: Figure, name: str) -> Markup:
    """The figure as SVG for the page: letters are text, and its greys follow the reader's light or dark scheme.

    Args:
        figure: drawn on white.
        name: its own within the page; the ids inside are made of it.
    """
    stream = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"| xmlns(:\w+)?="[^"]*"', "", drawing, count=4)
    drawing = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", drawing)  # of groups, the same in every figure
    drawing = drawing.replace("'DejaVu Sans'", "system-ui, sans-serif")
    for colour, variable in THEMED.items():
        drawing = re.sub(rf"{colour}\b", variable, drawing, flags=re.IGNORECASE)
    return Markup(drawing)
