"""`nola methods`: the label-free methods there are."""

from __future__ import annotations

import typer  # noqa: F401  (the commands are typer's)

from flows.commands.options import Json
from flows.commands.output import print_json
from flows.project import project_root


def methods(as_json: Json = False) -> None:
    """List the methods, and those that params.yaml puts in force.

    A project's own methods are the files of its folder `methods`.
    """
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
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "kind", "in this project", "summary"):
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in ("method", "kind", "in this project", "summary")))
    Console().print(table)
