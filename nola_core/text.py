"""Text that users brought, on its way to where it could do harm: a terminal, a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

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

    A text that begins like a formula gets an apostrophe in front, the sign of spreadsheets for plain text.
    """
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    safe = value.copy()
    for column in value.columns:
        if value[column].dtype.kind not in "biufcmM":
            safe[column] = [spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in value[column]]
    return safe
