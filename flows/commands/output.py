"""How commands speak: results on stdout, notices and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nola_core.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from nola_core.inspect import Page

Formats = Mapping[str, str | Callable[[Any], str]]
"""Column -> a format such as `.3f`, or a function that writes a value."""
WIDE = 10_000
"""Columns of an output that is no terminal: nothing is folded there."""
TO_THE_RIGHT = ("row", "rank", "norm", "confidence", "margin", "probability", "similarity")


def error(message: object) -> None:
    """Each line of a message as `error: ...` on stderr."""
    for line in str(message).split("\n"):
        print(f"error: {printable(line)}", file=sys.stderr)


def notice(text: str, *, quiet: bool = False) -> None:
    """A line on stderr that no script needs."""
    if not quiet:
        print(printable(text), file=sys.stderr)


def made(path: Path) -> None:
    """What a command has made: the last line of stdout."""
    print(printable(str(path)))


def print_json(value: Any) -> None:
    """`value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_page(page: Page, *, as_json: bool, quiet: bool, formats: Formats) -> None:
    """A page as a table, or as JSON with `rows`, `offset`, `total` and `notes`.

    Args:
        page: from `nola_core.inspect`.
        as_json: JSON, with all digits.
        quiet: no line about where the page lies.
        formats: how values are written in a table; as they are where there is none.
    """
    if as_json:
        table = page.table.astype(object)
        rows = table.where(page.table.notna(), None).to_dict("records")
        print_json({"rows": rows, "offset": page.offset, "total": page.whole, "notes": list(page.notes)})
        return
    from rich.table import Table
    from rich.text import Text

    for note in page.notes:
        notice(note, quiet=quiet)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in page.table.columns:
        shown.add_column(str(column), justify="right" if column in TO_THE_RIGHT else "left", overflow="fold")
    ways = [formats.get(str(column), "") for column in page.table.columns]
    for values in page.table.itertuples(index=False):
        cells = (way(value) if callable(way) else format(value, way) for way, value in zip(ways, values, strict=True))
        shown.add_row(*(Text(printable(cell)) for cell in cells))
    if len(page.table):
        print_table(shown)
    notice(_place(page), quiet=quiet)


def print_table(table: Table) -> None:
    """A table of rich, as wide as the terminal; as wide as it needs where the output is none."""
    from rich.console import Console

    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(width=WIDE if wide else None).print(table)


def _place(page: Page) -> str:
    """Where a page lies in its table, and how to see the next."""
    last = page.offset + len(page.table)
    if not len(page.table):
        return f"no rows from {page.offset + 1:,} on, of {page.whole:,}"
    return f"rows {page.offset + 1:,} to {last:,} of {page.whole:,}" + (f"; next: --offset {last}" if last < page.whole else "")
