"""What the run took: the time of every stage on this machine, and the tokens and dollars of a language model."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nola_core.descriptions import Responses
from nola_core.durations import address
from nola_core.errors import NolaError
from nola_core.inputs import ROLES, STAGES
from nola_core.report.style import shown
from nola_core.text import enumerated

DONE: Mapping[str, str] = {
    "prepare": "open, count and hash the images",
    "describe": "sentences about the classes",
    "embed clip": "CLIP features of the images",
    "embed ssl": "self-supervised features of the images",
    "duplicates": "look for near duplicates",
    "classify": "text methods",
    "select": "pseudo-labels",
    "fit": "feature methods",
    "tune": "students",
    "predict": "predictions of all methods, and the model",
    "evaluate": "compare with labels, if there are any",
}
"""Stage -> what it does. The stage `report` is still at work when it writes this page."""


@dataclass(frozen=True)
class Time:
    """A row: the stage, what it does, and how long its last run took; `took` says so where that is not known."""

    stage: str
    does: str
    seconds: float | None
    took: str


def times(seconds: Mapping[str, float], dataset: str) -> list[Time]:
    """One row a stage, in their order.

    Args:
        seconds: address of a stage -> seconds, of `nola_core.durations`.
        dataset: its name.
    """
    parts = [(stage, role) for stage in STAGES for role in (ROLES if stage == "embed" else (None,)) if stage != "report"]
    found = []
    for stage, role in parts:
        label = f"{stage} {role}" if role else stage
        known = seconds.get(address(stage, dataset, role))
        found.append(Time(label, DONE[label], known, "not recorded" if known is None else spoken(known)))
    return found


def total(found: list[Time]) -> str:
    """The sum of what is recorded; empty if nothing is."""
    known = [one.seconds for one in found if one.seconds is not None]
    return spoken(sum(known)) if known else ""


def spoken(seconds: float) -> str:
    """`4.2 s`, `3 min 5 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def machine() -> str:
    """What the stages ran on, as far as every machine can say."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count() or 1} cores"


def cost(folder: Path) -> str:
    """What a language model was asked for this data set, and what that cost, in a sentence.

    Args:
        folder: `data/<dataset>`; reads `responses`.

    Raises:
        NolaError: it is absent or damaged.
    """
    if not (folder / "responses").is_dir():
        raise NolaError(f"{folder / 'responses'} does not exist: run the stage describe.")
    table = Responses(folder / "responses").read()
    asked = table[table["provider"] == "llm"]
    if asked.empty:
        return "No language model was asked."
    models = enumerated(shown(model) for model in asked["model"].unique())
    tokens = f"{int(asked['tokens_in'].sum()):,} tokens in, {int(asked['tokens_out'].sum()):,} out"
    known = asked["cost"].dropna().clip(lower=0)
    dollars = f"{known.sum():.2f} dollars" if len(known) else "no price is known"
    partly = f", without {len(asked) - len(known):,} answers of unknown price" if 0 < len(known) < len(asked) else ""
    return f"A language model ({models}) gave {len(asked):,} answers: {tokens}; {dollars}{partly}."
