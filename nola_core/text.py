"""Text for people: safe to show in a terminal or a spreadsheet, and short where there is much."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a cell that a spreadsheet treats as the start of a formula, or skips to look for one."""

T = TypeVar("T", str, "pd.DataFrame")


def printable(text: str) -> str:
    r"""`text` with control characters, invisible ones and broken UTF-8 shown as escapes (`\x1b`), safe for a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text)


def enumerated(items: Iterable[object], *, most: int = 5) -> str:
    """The first items, and how many more there are: `auk, dodo, emu and 1,204 more`."""
    found = [str(item) for item in items]
    rest = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + rest


def markdown_safe(text: str) -> str:
    """`text` in one line, so that Markdown shows it as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!&" else letter for letter in printable(text))


def spreadsheet_safe(value: T) -> T:
    """A text, or a frame of texts, changed so that a spreadsheet does not treat any text as a formula; numbers do not change.

    A text that starts like a formula gets a leading apostrophe, which marks plain text in spreadsheets; `as_written` removes
    it again.
    """
    return _each(value, lambda text: f"'{text}" if text.lstrip("'").startswith(FORMULA) else text)


def as_written(value: T) -> T:
    """The original texts: undoes `spreadsheet_safe`."""
    return _each(value, lambda text: text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text)


def write_spreadsheet(
    place: Path | TextIO, frame: pd.DataFrame, *, float_format: str, header: bool = True, lineterminator: str = "\n"
) -> None:
    r"""Write CSV that a spreadsheet opens without computing anything. A carriage return, which would end the row, becomes `\r`.

    The caller makes the write atomic. An opened file is appended to.
    """
    rows = _each(spreadsheet_safe(frame), lambda text: text.replace("\r", "\\r"))
    rows.to_csv(place, index=False, float_format=float_format, header=header, lineterminator=lineterminator)


def _each(value: T, change: Callable[[str], str]) -> T:
    """`value` with `change` applied to every text."""
    if isinstance(value, str):
        return change(value)
    changed = value.copy()
    for column in value.columns:
        if value[column].dtype.kind not in "biufcmM":
            changed[column] = [change(cell) if isinstance(cell, str) else cell for cell in value[column]]
    return changed
