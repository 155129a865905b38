"""Files that tables are written to piece by piece: Parquet, CSV and JSON lines, by the suffix of their name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.errors import NolaError
from nola_core.files import replacing
from nola_core.text import write_spreadsheet

SUFFIXES = (".parquet", ".csv", ".jsonl")
Write = Callable[[pd.DataFrame], None]


def check_suffix(path: Path) -> None:
    """Refuse a file whose name does not say its format.

    Raises:
        NolaError: it ends in none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise NolaError(f"{path}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, which choose the format.")


@contextmanager
def opened(path: Path) -> Iterator[Write]:
    """A function that appends a table; the file is complete at the end, or not there.

    All tables have the same columns. In CSV, text that a spreadsheet would take for a formula is marked as text.

    Raises:
        NolaError: see `check_suffix`.
    """
    check_suffix(path)
    with replacing(path) as scratch:
        if path.suffix.lower() == ".parquet":
            writers: list[pq.ParquetWriter] = []

            def write(table: pd.DataFrame) -> None:
                columns = pa.Table.from_pandas(
                    table, schema=writers[0].schema if writers else _schema(table), preserve_index=False
                )
                if not writers:
                    writers.append(pq.ParquetWriter(scratch, columns.schema))
                writers[0].write_table(columns)

            try:
                yield write
            finally:
                for writer in writers:
                    writer.close()
            return
        with scratch.open("w", encoding="utf-8", newline="") as stream:

            def write_text(table: pd.DataFrame) -> None:
                if path.suffix.lower() == ".csv":
                    write_spreadsheet(stream, table, float_format="%.6f", header=not stream.tell(), lineterminator="\n")
                    return
                for row in table.astype(object).where(table.notna(), None).to_dict("records"):
                    stream.write(json.dumps(row, ensure_ascii=False) + "\n")

            yield write_text


def _schema(table: pd.DataFrame) -> pa.Schema:
    """Text for all columns but the numbers, whatever the first table holds: a column may be empty there."""
    return pa.schema([(name, pa.float32() if kind == "float32" else pa.string()) for name, kind in table.dtypes.items()])
