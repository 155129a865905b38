"""Files that are either complete or absent: atomic writes, checked tables, content hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.errors import NolaError

if TYPE_CHECKING:
    import pandas as pd

PREDICTION_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("method", pa.string()),
        ("class_id", pa.int32()),
        ("probability", pa.float32()),
        ("margin", pa.float32()),
        ("top_classes", pa.list_(pa.int32())),
        ("top_probabilities", pa.list_(pa.float32())),
    ]
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path` (a file or a folder to be made) and rename it there on success.

    On any exception the scratch path is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    old = scratch.with_suffix(".old")
    try:
        yield scratch
        if path.is_dir() and not path.is_symlink() and scratch.exists():
            path.rename(old)  # a folder cannot be renamed over another; deleting it here could be interrupted halfway
        scratch.replace(path)
    finally:
        remove(scratch)
        remove(old)


def remove(path: Path) -> None:
    """Delete a file or a folder tree; a path that is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write `frame` as Parquet with exactly the columns and types of `schema`.

    Raises:
        NolaError: a column is missing or does not fit its type.
    """
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise NolaError(f"{path}: the table to be written lacks the columns {', '.join(missing)}.")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise NolaError(f"{path}: a column does not fit its type: {error}") from error
    with replacing(path) as scratch:
        pq.write_table(table.replace_schema_metadata(None), scratch)


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends a table; the file appears when all of them are written. Memory: one table at a time."""
    with replacing(path) as scratch, pq.ParquetWriter(scratch, schema) as writer:
        yield lambda table: writer.write_table(table.cast(schema))


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        NolaError: the file is absent, is no Parquet file or lacks a column of `columns`.
    """
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise NolaError(f"{path} cannot be read as a Parquet table ({reason}); delete it and run its stage again.") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused (they are no JSON)."""
    with replacing(path) as scratch:
        scratch.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """`value` as `write_json` writes it."""
    return json.dumps(value, indent=2, sort_keys=False, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NolaError: the file is absent or is no JSON.
    """
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    try:
        return json.loads(path.read_text())
    except ValueError as error:  # no JSON, or no UTF-8
        raise NolaError(f"{path} is no JSON ({error}); delete it and run its stage again.") from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of `value`: equal values, equal keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
