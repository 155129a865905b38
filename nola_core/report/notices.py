"""Whatever a reader must know before trusting the figures."""

from __future__ import annotations

from collections.abc import Sequence

from nola_core.datasets.names import telling_nothing
from nola_core.report.corrected import notice
from nola_core.report.sources import leaked_images
from nola_core.report.style import percent, shown
from nola_core.report.tables import Tables
from nola_core.text import enumerated

NAMED_METHODS = 5
"""A sentence names at most this many methods."""


def notices(tables: Tables) -> list[str]:
    """One sentence a thing; empty if there is nothing."""
    found: list[str] = []
    split, final = tables.metrics["split"], tables.title(tables.final)
    if told := notice(tables.metrics):
        found.append(told)
    warning = tables.warnings().get(tables.final)
    if warning:
        found.append(f"{warning} Consider the predictions of the teacher, {tables.title(tables.in_force.teacher)}, instead.")
    scores = {method: values["top1"] for method, values in tables.metrics["methods"].items()}
    better = sorted((name for name in scores if scores[name] > scores[tables.final]), key=lambda name: -scores[name])
    if better:
        listed_ones = [f"{tables.title(name)} {percent(scores[name])}" for name in better[:NAMED_METHODS]]
        rest = [f"{len(better) - NAMED_METHODS} more"] if len(better) > NAMED_METHODS else []
        found.append(f"{final} is not the most accurate method here: {listed(listed_ones + rest)}.")
    mine = tables.per_class[tables.per_class["method"] == tables.final]
    nobody = [str(name) for name in mine.loc[mine["predicted"] == 0, "class"]]
    if nobody:
        found.append(f"{final} predicts no image of the {split} split to be of {_several(nobody, 'class')}.")
    chosen = set(tables.pseudo_labels.loc[tables.pseudo_labels["selected"].astype(bool), "class_id"])
    without = [name for class_id, name in enumerate(tables.names) if class_id not in chosen]
    if without:
        found.append(f"No pseudo-label was selected for {_several(without, 'class')}.")
    nothing = telling_nothing([str(name) for name in tables.classes["display_name"]])
    if nothing:
        found.append(f"CLIP cannot know what these names mean: {_several(nothing, 'class')}.")
    cut = int(tables.quality["truncated"].sum())
    if cut:
        found.append(
            f"CLIP reads only the beginning of {cut:,} of {len(tables.quality):,} descriptions: they are too long for it."
        )
    leaked = leaked_images(tables.near_duplicates, split)
    if leaked:
        subject = f"1 image of the {split} split has" if leaked == 1 else f"{leaked:,} images of the {split} split have"
        doubt = ", so the accuracies may be too high" if scores else ""
        found.append(f"{subject} a near copy in another split{doubt}.")
    unreadable = int((~tables.manifest["ok"].astype(bool)).sum())
    if unreadable:
        found.append(f"{unreadable:,} of {len(tables.manifest):,} files could not be used; they are listed under Data.")
    return found


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _several(names: Sequence[str], noun: str, most: int = 8) -> str:
    """`the class zero`, or `12 classes: zero, one, ... and 4 more`."""
    if len(names) == 1:
        return f"the {noun} {shown(names[0])}"
    return f"{len(names):,} {noun}es: {enumerated(map(shown, names), most=most)}"
