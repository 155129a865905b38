"""`nola methods`: the label-free methods there are, and the parts of CLIP that students can tune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from flows.commands.options import Json
from flows.commands.output import print_json
from flows.project import project_root


def methods(
    parts: Annotated[bool, typer.Option("--parts", help="List the parts of CLIP that a student's option `tune` names.")] = False,
    as_json: Json = False,
) -> None:
    """List the methods, and those that params.yaml puts in force.

    A project's own methods are the files of its folder `methods`.
    """
    rows = _parts() if parts else _methods()
    if as_json:
        print_json(rows)
    elif parts:
        _print(rows, ["part", "merges", "what learns"])
    else:
        _print(rows, ["method", "kind", "in this project", "summary"])


def _parts() -> list[dict[str, Any]]:
    from nola_core.students.parts import PARTS

    return [
        {"part": name, "merges": "yes" if part.merges else "no", "what learns": part.summary, "paper": part.paper}
        for name, part in PARTS.items()
    ]


def _methods() -> list[dict[str, Any]]:
    from nola_core.methods import registry

    root = project_root()
    parts: dict[str, list[str]] = {}
    if root is not None:
        from nola_core.config import load

        settings = load(root)
        for name in settings.methods:
            parts.setdefault(name, []).append("runs")
        for part in ("text_classifier", "teacher", "final"):
            parts.setdefault(getattr(settings, part), []).append(part.replace("_", " "))
    rows = []
    for name in registry.names(root):
        method = registry.find(name, root)
        rows.append(
            {
                "method": name,
                "kind": method.kind,
                "in this project": ", ".join(parts.get(name, [])),
                "summary": method.summary,
                "paper": method.paper,
            }
        )
    return rows


def _print(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    Console().print(table)
