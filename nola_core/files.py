"""Atomic file writes, checked tables and content hashes. A file is either complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

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


SCRATCH = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<start>[0-9a-f]{8})-[0-9a-f]{8}\.partial")
"""Name of a scratch folder: the final name and the writing process (`_writer`)."""
UNTOUCHED_SECONDS = 86_400.0
"""A scratch folder of another host or container counts as abandoned if it has not changed for this long."""
UNKNOWN = "0" * 8
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path on the file system of `path` for a new file or folder, and rename it to `path` on success.

    On any exception the temporary content is removed and `path` does not change. After a kill, `path` is the complete old or the
    complete new version; or it is missing, and `sweep` restores the old one.

    Raises:
        OSError: a full disk and similar errors, with `path` as the filename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.{_writer()}-{uuid.uuid4().hex[:8]}.partial")
    new, old = place / "new", place / "old"
    try:
        place.mkdir()
        yield new
        if path.is_dir() and not path.is_symlink() and new.exists():
            path.rename(old)  # a folder cannot be renamed over another; deleting it here could be interrupted halfway
        new.replace(path)
    except SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    except OSError as error:
        unnamed = error.filename is None and error.errno in DISK_ERRORS  # errors of a write do not contain the file name
        if unnamed or str(error.filename).startswith(str(place)):
            error.filename = str(path)
        raise
    finally:
        if os.path.lexists(old) and not os.path.lexists(path):
            old.rename(path)
        remove(place)


def sweep(*folders: Path) -> None:
    """Remove the scratch folders of killed processes anywhere below `folders`; those of running processes stay.

    If a process was killed while it replaced a folder, the old folder is restored first.
    """
    for folder in folders:
        for parent, names, _ in os.walk(folder):
            for match in [match for match in map(SCRATCH.fullmatch, names) if match]:
                names.remove(match[0])
                _clear(Path(parent, match[0]), Path(parent, match["name"]), match)


def _clear(place: Path, target: Path, writer: re.Match[str]) -> None:
    try:
        if _living(place, writer["host"], int(writer["pid"]), writer["start"]):
            return
        if os.path.lexists(place / "old") and not os.path.lexists(target):
            (place / "old").rename(target)
            print(f"restored {target}: a run was killed while replacing it", file=sys.stderr)
        shutil.rmtree(place)
    except FileNotFoundError:  # another process has removed it
        pass
    except OSError as error:
        print(f"{place}, left by a killed run, cannot be removed ({error.strerror}); delete it", file=sys.stderr)


def _writer() -> str:
    """This process as `host-pid-start`."""
    return f"{_host()}-{os.getpid()}-{_start(os.getpid())}"


def _living(place: Path, host: str, pid: int, start: str) -> bool:
    if host != _host():
        times = [path.lstat().st_mtime for path in (place, *place.rglob("*"))]
        return time.time() - max(times) < UNTOUCHED_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is running and belongs to another user
        pass
    return _start(pid) in (start, UNKNOWN)


@cache
def _host() -> str:
    """Hash of the machine, or of the container on it, within which process ids are unique."""
    namespace = Path("/proc/self/ns/pid")
    return _short(f"{platform.node()} {namespace.readlink() if namespace.is_symlink() else ''}")


def _start(pid: int) -> str:
    """Start time of a process, to recognise a reused process id; `UNKNOWN` if the system does not provide it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return UNKNOWN
    return "ended" if state in "ZX" else _short(f"{boot} {fields[18]}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def remove(path: Path) -> None:
    """Delete a file or a folder tree; a missing path is not an error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, *, note: str = "") -> None:
    """Write `frame` as Parquet with exactly the columns and types of `schema`, and with a note for `read_note`.

    Raises:
        NolaError: a column is missing or does not fit its type.
    """
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise NolaError(
            f"{path}: the table to write has no columns {', '.join(missing)}; run the stage again, and report this if it repeats."
        )
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise NolaError(f"{path}: a column does not fit its type: {error}") from error
    with replacing(path) as scratch:
        pq.write_table(table.replace_schema_metadata({"note": note} if note else None), scratch)


def read_note(path: Path) -> str:
    """The note a table was written with, or an empty string."""
    return (pq.read_schema(path).metadata or {}).get(b"note", b"").decode()


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends a table. The file appears when all are written; only one table is in memory at a time."""
    with replacing(path) as scratch, pq.ParquetWriter(scratch, schema) as writer:
        yield lambda table: writer.write_table(table.cast(schema))


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        NolaError: the file is missing, is not a Parquet file or has not all of `columns`.
    """
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise NolaError(f"{path} cannot be read as a Parquet table ({reason}); delete it and run its stage again.") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity raise an error (JSON cannot represent them)."""
    with replacing(path) as scratch:
        scratch.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """`value` in the form that `write_json` writes."""
    return json.dumps(value, indent=2, sort_keys=False, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NolaError: the file is missing or is not valid JSON.
    """
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    try:
        return json.loads(path.read_text())
    except ValueError as error:  # not JSON, or not UTF-8
        raise NolaError(f"{path} is not valid JSON ({error}); delete it and run its stage again.") from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of `value`; equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
