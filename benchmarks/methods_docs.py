"""The entries of docs/methods.md, written from the methods themselves and from benchmarks/results/methods.csv.

    python -m benchmarks.methods_docs      # or: make docs

An entry is the docstring of the method's class, its paper and options, and its rows of the measured results. What stands around
the entries is kept.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks import beds
from benchmarks.methods_page import markdown, means
from nola_core.files import replacing
from nola_core.methods import registry
from nola_core.methods.method import Method

PAGE = Path(__file__).parent.parent / "docs" / "methods.md"
RESULTS = Path(__file__).parent / "results" / "methods.csv"
BEGIN, END = "<!-- entries: written by benchmarks/methods_docs.py -->", "<!-- end of entries -->"
COLUMNS = [*beds.VARIANTS, "mean", "gain", "worst", "behind"]
PROTOCOLS = ("inductive", "transductive")


def several(method: Method) -> bool:
    """Whether it combines any number of spaces, or other methods."""
    return "spaces" in method.section.model_fields or type(method).uses is not Method.uses


GROUPS: dict[str, tuple[str, Callable[[Method], bool]]] = {
    "Text methods": ("They read the class texts and CLIP features.", lambda method: method.kind == "text"),
    "Methods on one space": (
        "They read the text classifier and the features of one space: CLIP's own, or a second one beside it.",
        lambda method: method.kind == "features" and not several(method),
    ),
    "Methods on several spaces": (
        "They read the text classifier and any number of spaces, or combine other methods.",
        lambda method: method.kind == "features" and several(method),
    ),
    "Students": (
        "They tune CLIP itself on the images. The benchmark above, which runs from cached features, does not include them; "
        "[accuracy.md](../benchmarks/results/accuracy.md) has what was measured.",
        lambda method: method.kind == "student",
    ),
}
"""Heading -> what the group has in common, and which methods are in it."""


def prose(method: Method) -> list[str]:
    """The class docstring, without its sections (Args, Attributes)."""
    lines: list[str] = []
    for line in (inspect.getdoc(type(method)) or method.summary).splitlines():
        if line.rstrip() in ("Args:", "Attributes:"):
            break
        lines.append(line)
    return "\n".join(lines).strip().splitlines()


def options(method: Method) -> str:
    """`name: default` of every option, as params.yaml takes it; empty if there is none."""
    return ", ".join(_written(json.loads(method.section().model_dump_json())))


def _written(values: Mapping[str, Any]) -> list[str]:
    """Each `key: value` as YAML on one line."""
    flow = (yaml.safe_dump({key: value}, default_flow_style=True, width=10**6) for key, value in values.items())
    return [f"`{text.strip()[1:-1]}`" for text in flow]


def rows(method: Method, made: pd.DataFrame) -> list[str]:
    """The method's rows of the results as a table; a sentence if there is none."""
    mine = made[made["method"].str.split().str[0] == method.name]
    if mine.empty:
        return [] if method.kind == "student" else ["Not measured in this table."]
    tables = []
    for protocol in PROTOCOLS:
        part = mine[mine["protocol"] == protocol]
        if len(part):
            found = means(part, cells=len(made[["dataset", "variant"]].drop_duplicates()))
            found.insert(0, "rows", [_row_name(protocol, str(name)) for name in found["method"]])
            tables.append(found[["rows", *COLUMNS]].rename(columns={"rows": ""}))
    return markdown(pd.concat(tables))


def _row_name(protocol: str, name: str) -> str:
    return ", ".join([protocol, *_written(json.loads(name.partition(" ")[2] or "{}"))])


def entry(method: Method, made: pd.DataFrame) -> list[str]:
    """The lines of a method's entry."""
    protocol = "Inductive and transductive." if method.transductive else "Inductive."
    chosen = options(method)
    lines = [f"### `{method.name}`: {method.title}", "", *prose(method), ""]
    lines += [f"- {protocol} Options: {chosen}." if chosen else f"- {protocol} No options.", f"- Source: {method.paper}."]
    table = rows(method, made)
    return [*lines, *(["", *table] if table else []), ""]


def entries(methods: Iterable[Method], made: pd.DataFrame) -> str:
    """All entries by group, the methods of a group by name."""
    lines: list[str] = []
    known = sorted(methods, key=lambda method: method.name)
    for heading, (common, belongs) in GROUPS.items():
        lines += [f"## {heading}", "", common, ""]
        for method in filter(belongs, known):
            lines += entry(method, made)
    return "\n".join(lines)


def page(around: str) -> str:
    """docs/methods.md with the entries of all methods that come with NoLA."""
    made = pd.read_csv(RESULTS).astype({"variant": str})
    text = entries((registry.find(name) for name in registry.names()), made)
    return f"{around.split(BEGIN)[0]}{BEGIN}\n\n{text}\n{END}{around.split(END)[1]}"


def main() -> int:
    """Write the page."""
    text = page(PAGE.read_text())
    with replacing(PAGE) as scratch:
        scratch.write_text(text)
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
