"""Class names as a user gives them on a command line: separated by commas, or in a text or CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from nola_core.datasets.classes import check_names
from nola_core.datasets.readers.reader import lines_of
from nola_core.errors import NolaError
from nola_core.text import printable

COLUMNS = ("class", "class_name", "name", "classes", "label")
"""Headings of a column of names in a CSV file; without one of them, the first column of every row."""


def read_class_list(given: str) -> list[str]:
    """The class names in `given`.

    Args:
        given: `cat,dog`, or the path of a file: text with one name a line, or CSV (`.csv`).

    Raises:
        NolaError: no file and one name alone, a file that cannot be read, or names that `check_names` refuses.
    """
    path = Path(given)
    if "," not in given or path.is_file():
        if not path.is_file():
            raise NolaError(
                f"--classes {printable(given)} is one name, and there is no file of that name; give at least two names separated "
                "by commas, or a file with one name a line."
            )
        names, where = _of_file(path), given
    else:
        names, where = [name.strip() for name in given.split(",")], "--classes"
    check_names(names, where=printable(where))
    return names


def _of_file(path: Path) -> list[str]:
    try:
        if path.suffix.lower() != ".csv":
            return [line.strip() for line in lines_of(path) if line.strip()]
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise NolaError(f"--classes {path} cannot be read ({reason}); give a file with one name a line.") from None
    heads = [cell.strip().casefold() for cell in rows[0]] if rows else []
    column = next((heads.index(name) for name in COLUMNS if name in heads), None)
    if column is None:
        return [row[0].strip() for row in rows]
    return list(dict.fromkeys(row[column].strip() for row in rows[1:] if len(row) > column))
