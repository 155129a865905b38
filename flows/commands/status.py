"""`nola status`: what is out of date, why, and how long a run would take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import Json, Quiet
from flows.commands.output import notice, print_json
from flows.commands.project import check_datasets, complete_dataset
from flows.project import require_project
from nola_core.text import printable

if TYPE_CHECKING:
    from flows.changes import Pending
    from flows.graph import Graph


def status(
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="A data set of params.yaml. Without it: all.", autocompletion=complete_dataset),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is out of date and why, what `nola run` would do, and about how long it would take.

    Nothing is run or changed. The time is that of each stage's last run on this machine.
    """
    root = require_project()
    names = None if dataset is None else [dataset]
    check_datasets(root, names or [])
    os.chdir(root)  # where DVC's stages have the names they have in dvc.yaml
    from flows.changes import pending
    from flows.locking import running

    holder = running(root)
    if holder is not None:
        notice(f"{holder} is at work; what it has finished by now counts as up to date", quiet=quiet)
    graph, found = pending(root, datasets=names, notify=notice)
    of = {name: [one for one in found if one.stage.dataset == name] for name in graph.datasets}
    if as_json:
        print_json({"running": holder, "datasets": {name: _values(graph, name, ours) for name, ours in of.items()}})
        return
    for name, ours in of.items():
        print("\n".join(printable(line) for line in _lines(graph, name, ours)))


def duration(seconds: float) -> str:
    """A length of time to about two digits: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _lines(graph: Graph, dataset: str, found: list[Pending]) -> list[str]:
    from flows.changes import label

    total = len(graph.of(dataset))
    if not found:
        return [f"{dataset}: up to date, {total} stages"]
    certain = sum(one.certain for one in found)
    may = f", {len(found) - certain} more may follow" if certain < len(found) else ""
    wide = max(len(label(one.stage)) for one in found)
    lines = [f"{dataset}: {certain} of {total} stages will run{may}; {_time(found)}"]
    return lines + [f"  {label(one.stage):{wide}}  {'; '.join(one.reasons)}" for one in found]


def _time(found: list[Pending]) -> str:
    known = [one.seconds for one in found if one.seconds is not None]
    if not known:
        return "no earlier run tells how long"
    unknown = len(found) - len(known)
    rest = f", and {unknown} of unknown length" if unknown else ""
    return f"at most about {duration(sum(known))} by their last runs{rest}"


def _values(graph: Graph, dataset: str, found: list[Pending]) -> dict[str, object]:
    known = [one.seconds for one in found if one.seconds is not None]
    rows = [
        {"stage": one.stage.address, "certain": one.certain, "reasons": list(one.reasons), "seconds": one.seconds}
        for one in found
    ]
    seconds = sum(known) if len(known) == len(found) else None
    return {"stages": len(graph.of(dataset)), "up_to_date": not found, "seconds": seconds, "pending": rows}
