"""Text that users brought, on its way to where it could do harm: a terminal, a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that a spreadsheet takes for a formula, or looks behind for one."""

T = TypeVar("T", str, "pd.DataFrame")


def printable(text: str) -> str:
    r"""`text` with control characters, invisible ones and broken UTF-8 shown as escapes (`\x1b`): a terminal obeys none."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text)


def spreadsheet_safe(value: T) -> T:
    """A text, or a frame with all its texts, none of which a spreadsheet takes for a formula; numbers stay numbers.

    A text that begins like a formula gets an apostrophe in front, the sign of spreadsheets for plain text; `as_written` takes
    it away again.
    """
    return _each(value, lambda text: f"'{text}" if text.lstrip("'").startswith(FORMULA) else text)


def as_written(value: T) -> T:
    """The texts that `spreadsheet_safe` was given."""
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
    """`value` with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    changed = value.copy()
    for column in value.columns:
        if value[column].dtype.kind not in "biufcmM":
            changed[column] = [change(cell) if isinstance(cell, str) else cell for cell in value[column]]
    return changed
