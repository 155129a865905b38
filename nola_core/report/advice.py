"""What to do next: a few commands that fit the result."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from nola_core.report import headline
from nola_core.report.tables import Tables

STEPS = 4
"""At most."""
WIDE = 0.2
"""An interval of an audit from this width on is worth more labels."""
LABELS, MORE_LABELS = 50, 150


@dataclass(frozen=True)
class Step:
    """What to do, why, and the command for it."""

    title: str
    why: str
    command: str


def steps(tables: Tables, *, groups: int, absent: bool, project: bool) -> list[Step]:
    """Two to four steps, the most urgent first.

    Args:
        groups: of images that fit no name.
        absent: whether a name seems not to occur.
        project: whether the result stands in a project; `nola adapt` makes none.
    """
    name = shlex.quote(tables.metrics["dataset"])
    return (_in_project(tables, name, groups, absent) if project else _alone(tables, name))[:STEPS]


def _in_project(tables: Tables, name: str, groups: int, absent: bool) -> list[Step]:
    found = []
    if headline.verdict(tables) is not None:
        described = not tables.descriptions.empty
        found.append(
            Step("Try other descriptions", "A table of your own sentences works, too.", f"nola describe plan --dataset {name}")
            if described
            else Step(
                "Describe the classes, or name them otherwise",
                "This says what a language model would be asked and what it costs. A table of your own sentences works, too, and "
                f"the names are in data/{tables.metrics['dataset']}.yaml.",
                f"nola describe plan --dataset {name}",
            )
        )
    found += _measuring(tables, name)
    if groups:
        found.append(
            Step(
                "Look at the images that fit no name",
                "A group may be a class that is missing in the list.",
                f"nola inspect unknown {name} --group 1",
            )
        )
    elif absent:
        found.append(
            Step(
                "Look at the names that seem not to occur",
                "Either there are no such images, or another word would say better how they look.",
                f"nola inspect names {name} --absent",
            )
        )
    found.append(
        Step("Look at all images", "A map with filters for classes, confidence and disagreements.", f"nola explore {name}")
    )
    found.append(
        Step(
            "Take the predictions away",
            "As CSV. There are other forms, too, and the model itself: nola export --help",
            _export(name),
        )
    )
    return found


def _export(name: str) -> str:
    return f"nola export {name} --to csv -o {name}.csv"


def _alone(tables: Tables, name: str) -> list[Step]:
    """After `nola adapt`: commands for the folder in which it ran, where the name stands for its output folder."""
    found = []
    if headline.verdict(tables) is not None:
        found.append(
            Step(
                "Try other names",
                "With the same output folder no image is embedded again, and the results are replaced.",
                "nola adapt IMAGES --classes NAMES -o OUT",
            )
        )
    return [
        *found,
        *_measuring(tables, name),
        Step("Look at all images", "A map with filters for classes, confidence and disagreements.", f"nola explore {name}"),
        Step(
            "Classify other images",
            "OUT is the folder of this page, with the model in it.",
            f"nola predict OUT NEW_IMAGES -o {name}.csv",
        ),
    ]


def _measuring(tables: Tables, name: str) -> list[Step]:
    """An audit, or more labels for it; none where the images have labels."""
    audit = tables.metrics.get("audit")
    if tables.metrics["methods"]:
        return []
    if audit is None:
        why = "Judge fifty images, which takes five minutes. The result is the accuracy with its 95\u00a0% interval."
        return [Step("Measure the accuracy", why, f"nola audit {name} --labels {LABELS}")]
    if audit["high"] - audit["low"] <= WIDE:
        return []
    more = max(MORE_LABELS, 2 * audit["labels"])
    why = "It becomes half as wide with four times the labels."
    return [Step("Narrow the interval", why, f"nola audit {name} --labels {more}")]
