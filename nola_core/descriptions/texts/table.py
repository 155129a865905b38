"""The table of descriptions: one sentence about one class a row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from nola_core.datasets.names import display_name
from nola_core.descriptions.texts.grammar import closest, listed
from nola_core.errors import NolaError

SCHEMA = pa.schema([
    ("class_id", pa.int32()), ("class", pa.string()), ("prompt", pa.string()), ("text", pa.string()), ("provider", pa.string()),
    ("model", pa.string()),
])  # fmt: skip
LARGEST = 200_000_000  # bytes of a file of descriptions; the largest published ones have ten million
ADVICE = "Correct the table, or set describe.provider to none."
COLUMNS = ["class", "prompt", "text", "provider", "model"]


def read_provided(path: Path) -> pd.DataFrame:
    """A table of descriptions somebody wrote or imported: CSV or Parquet with the columns class, prompt, text, provider, model.

    Raises:
        NolaError: absent, unreadable, a column missing, or a row without class or text (the row is named).
    """
    frame = read_frame(path)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise NolaError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
    if path.suffix != ".parquet" and not isinstance(frame.index, pd.RangeIndex):  # pandas took the surplus for row names
        raise NolaError(f"{path}: row 1 has more fields than the header; put texts that hold a comma in quotes.")
    frame = frame[COLUMNS].reset_index(drop=True).fillna("").astype(str)
    first_empty(path, frame)
    return frame


def describe(provided: pd.DataFrame, classes: pd.DataFrame, *, source: str, advice: str = ADVICE) -> pd.DataFrame:
    """The sentences of this class list, in class order, duplicates within a class dropped.

    `provided` has the columns `COLUMNS` and names a class by its name or display name in `classes` (`class_id, name,
    display_name`). `source` says in messages where it is from, `advice` what to do.

    Raises:
        NolaError: a class of the list has no sentence, or a sentence belongs to no class (both lists are named).
    """
    ids = class_ids(provided["class"], classes)
    extra = sorted(set(provided.loc[ids.isna(), "class"]))
    lacking = classes.loc[~classes["class_id"].isin(ids), "name"].tolist()
    if extra or lacking:
        known = [*classes["name"], *classes["display_name"]]
        hints = [f"'{name}' is near '{near}'" for name in extra[:10] if (near := closest(name, known))]
        raise NolaError(
            f"{source} does not fit the class list"
            + (f"; classes without a description: {listed(lacking)}" if lacking else "")
            + (f"; descriptions of unknown classes: {listed(extra)}" if extra else "")
            + (f" ({listed(hints, most=5)})" if hints else "")
            + f". {advice}"
        )
    table = provided.assign(class_id=ids.astype(int)).drop_duplicates(["class_id", "text"])
    return table.sort_values("class_id", kind="stable", ignore_index=True)


def class_ids(names: pd.Series, classes: pd.DataFrame) -> pd.Series:
    """The class id that each name means, or null: the name of a class, its display name, or one that reads the same."""
    ids = dict(zip(classes["display_name"], classes["class_id"], strict=True))
    ids |= dict(zip(classes["name"], classes["class_id"], strict=True))
    return names.map(lambda name: ids.get(name, ids.get(display_name(name))))


def read_frame(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as it stands, every cell of a CSV a text; NolaError if it is absent, too large, or unreadable."""
    check_file(path)
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise NolaError(f"{path} cannot be read as a table of descriptions: {' '.join(str(error).split())}.") from None


def check_file(path: Path) -> None:
    """Raise NolaError for a file that is not there, or larger than `LARGEST`."""
    if not path.is_file():
        raise NolaError(f"the descriptions {path} do not exist; write them, or set describe.provider to none.")
    if (size := path.stat().st_size) > LARGEST:
        raise NolaError(f"{path} has {size / 1e6:,.0f} MB; a file of descriptions may have {LARGEST / 1e6:.0f}.")


def first_empty(path: Path, frame: pd.DataFrame) -> None:
    """Raise NolaError for the first row without class or text."""
    for column in ("class", "text"):
        empty = frame.index[frame[column].str.strip() == ""]
        if len(empty):
            raise NolaError(f"{path}: row {empty[0] + 1} has no {column}.")
