"""Stage `describe`: the sentences a data set is described by, one row a sentence."""

from __future__ import annotations

import difflib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from nola_core.errors import NolaError

SCHEMA = pa.schema(
    [
        ("class_id", pa.int32()),
        ("class", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
    ]
)
LARGEST = 200_000_000
"""Bytes of a file of descriptions; the largest published ones have ten million."""
COLUMNS = ["class", "prompt", "text", "provider", "model"]


def read_provided(path: Path) -> pd.DataFrame:
    """A table of descriptions somebody wrote or imported: CSV or Parquet with the columns class, prompt, text, provider, model.

    Raises:
        NolaError: absent, unreadable, a column missing, or a row without class or text (the row is named).
    """
    if not path.is_file():
        raise NolaError(f"the descriptions {path} do not exist; write them, or set describe.provider to none.")
    check_size(path)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise NolaError(f"{path} cannot be read as a table of descriptions: {' '.join(str(error).split())}.") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise NolaError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
    if path.suffix != ".parquet" and not isinstance(frame.index, pd.RangeIndex):  # pandas took the surplus for row names
        raise NolaError(f"{path}: row 1 has more fields than the header; put texts that hold a comma in quotes.")
    frame = frame[COLUMNS].reset_index(drop=True).fillna("").astype(str)
    for column in ("class", "text"):
        empty = frame.index[frame[column].str.strip() == ""]
        if len(empty):
            raise NolaError(f"{path}: row {empty[0] + 1} has no {column}.")
    return frame


def check_size(path: Path) -> None:
    """Refuse what is too large to be a file of descriptions.

    Raises:
        NolaError: it is.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise NolaError(f"{path} has {size / 1e6:,.0f} MB; a file of descriptions may have {LARGEST / 1e6:.0f}.")


def describe(provided: pd.DataFrame, classes: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """The sentences of this class list, in class order, duplicates within a class dropped.

    Args:
        provided: `class, prompt, text, provider, model`; `class` is a name as in `classes.name` or its display name.
        classes: `class_id, name, display_name`.
        source: where `provided` is from, for messages.

    Raises:
        NolaError: a class of the list has no sentence, or a sentence belongs to no class (both lists are named).
    """
    ids = dict(zip(classes["display_name"], classes["class_id"], strict=True))
    ids |= dict(zip(classes["name"], classes["class_id"], strict=True))
    extra = sorted(set(provided["class"]) - set(ids))
    described = {ids[name] for name in provided["class"] if name in ids}
    lacking = classes.loc[~classes["class_id"].isin(described), "name"].tolist()
    if extra or lacking:
        near = [f"'{name}' is near '{match[0]}'" for name in extra if (match := difflib.get_close_matches(name, ids, n=1))]
        raise NolaError(
            f"{source} does not fit the class list"
            + (f"; classes without a description: {', '.join(lacking[:10])}" if lacking else "")
            + (f"; descriptions of unknown classes: {', '.join(extra[:10])}" if extra else "")
            + (f" ({', '.join(near[:5])})" if near else "")
            + ". Mend the table, or set describe.provider to none."
        )
    table = provided.assign(class_id=provided["class"].map(ids)).drop_duplicates(["class_id", "text"])
    return table.sort_values("class_id", kind="stable", ignore_index=True)
