"""The response cache: append-only Parquet parts that no stage ever deletes, because answers may have been paid for.

Answers of a model go through a journal: a line is on the disk before the next request leaves, and every few dozen lines
become a part. Whatever moment a run is killed at, the next one finds all that had arrived.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.descriptions.answers import GOOD
from nola_core.errors import NolaError
from nola_core.files import digest, write_table

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("class", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("prompt_version", pa.string()),
        ("sample", pa.int32()),
        ("attempt", pa.int32()),
        ("finish_reason", pa.string()),
        ("tokens_in", pa.int32()),
        ("tokens_out", pa.int32()),
        ("cost", pa.float64()),
        ("returned_model", pa.string()),
    ]
)
PROVIDED = ["class", "prompt", "text", "provider", "model"]
PART_ROWS = 48
"""Answers a part: so many are in the journal at most."""
COMPACT_PARTS = 16
"""More small parts than this are made one when a run ends."""
SMALL_ROWS = 20_000
"""Parts of at least so many rows are left alone by compaction."""


@dataclass
class Known:
    """What is known of one data set's requests."""

    good: set[str] = field(default_factory=set)
    """Keys with an answer."""
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Key -> finish reasons of the answers that were no use."""
    spent: float = 0.0
    """Dollars, failures included."""


class Responses:
    """The parts of one data set: `data/<dataset>/responses/*.parquet`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "_journal.jsonl"

    def read(self) -> pd.DataFrame:
        """All responses, oldest part first, each attempt of a key once; what a killed run left in the journal is among them.

        Raises:
            NolaError: a part or the journal is damaged.
        """
        if not self.folder.is_dir():
            return SCHEMA.empty_table().to_pandas()
        journal = self._read_journal()  # before the parts: in between, its lines may become one
        tables = [*self._read_parts(), pa.Table.from_pylist(journal, schema=SCHEMA)]
        frame = pa.concat_tables(tables).to_pandas()
        return frame[~frame.assign(attempt=frame["attempt"].fillna(0)).duplicated(["key", "attempt"])].reset_index(drop=True)

    def known(self) -> Known:
        """What has been asked already and what it cost."""
        frame = self.read()
        frame = frame[frame["finish_reason"].notna()]
        known = Known(spent=float(frame["cost"].clip(lower=0).sum()))
        for key, reason in zip(frame["key"], frame["finish_reason"], strict=True):
            if reason == GOOD:
                known.good.add(key)
            else:
                known.failures[key].append(reason)
        return known

    def add(self, rows: pd.DataFrame) -> int:
        """Append the provided rows (`class, prompt, text, provider, model`) that are not there yet, as one part; how many."""
        keys = [digest(dict(zip(PROVIDED, row, strict=True))) for row in rows[PROVIDED].itertuples(index=False)]
        known = self.read()
        new = rows[PROVIDED].assign(key=keys, time=pd.Timestamp.now("UTC").floor("ms"))
        new = new[~new["key"].isin(known["key"])].drop_duplicates("key")
        if len(new):
            self._write_part(pa.Table.from_pandas(new, preserve_index=False).to_pylist())
        return len(new)

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Yield the one writer of model answers: a second process waits here until the first is done.

        Whoever asks a model looks up what is known inside this block, so that no two processes ask the same.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder, os.O_RDONLY)  # the folder itself is locked: a lock file would be one more output
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another run asks for {self.folder}; waiting for its end", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            recorder = Recorder(self)
            try:
                yield recorder
            finally:
                recorder.close()
        finally:
            os.close(lock)

    def compact(self) -> None:
        """Make one part of all small ones if there are many. A kill halfway leaves rows twice, and `read` takes them once."""
        sizes = {part: pq.read_metadata(part).num_rows for part in sorted(self.folder.glob("*.parquet"))}
        small = [part for part, rows in sizes.items() if rows < SMALL_ROWS]
        if len(small) <= COMPACT_PARTS:
            return
        merged = pa.concat_tables([self._read_part(part) for part in small]).to_pandas()
        write_table(self.folder / f"{small[0].name.split('-')[0]}-{uuid.uuid4().hex[:8]}.parquet", merged, SCHEMA)
        for part in small:
            part.unlink(missing_ok=True)

    def _write_part(self, rows: Sequence[dict[str, Any]]) -> None:
        numbers = [int(part.name.split("-")[0]) for part in self.folder.glob("*.parquet") if part.name[:6].isdecimal()]
        name = f"{max(numbers, default=-1) + 1:06d}-{uuid.uuid4().hex[:8]}.parquet"
        write_table(self.folder / name, pa.Table.from_pylist(list(rows), schema=SCHEMA).to_pandas(), SCHEMA)

    def _read_parts(self) -> list[pa.Table]:
        for _ in range(100):
            try:
                return [self._read_part(part) for part in sorted(self.folder.glob("*.parquet"))]
            except FileNotFoundError:  # another process has just made one part of many
                continue
        raise NolaError(f"the parts of {self.folder} keep changing; wait for the run that writes them.")

    def _read_part(self, part: Path) -> pa.Table:
        try:
            table = pq.read_table(part)
            columns = [
                table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)  # a part of an older version
                for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
            ]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise NolaError(f"{part} cannot be read ({' '.join(str(error).split())}); restore it or move it away.") from None
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def _read_journal(self) -> list[dict[str, Any]]:
        try:
            lines = self.journal.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        rows, mended = [], []
        for number, line in enumerate(lines[:-1], start=1):  # after the last newline: nothing, or a line cut off by a kill
            try:
                row = json.loads(line)
                row |= {"time": pd.Timestamp(row["time"]).to_pydatetime()}
                if not all(_can_be(row[name]) for name in ("tokens_in", "tokens_out", "cost")):
                    row |= {"tokens_in": None, "tokens_out": None, "cost": None}
                    mended.append(str(number))
                pa.Table.from_pylist([row], schema=SCHEMA)
                rows.append(row)
            except (ValueError, KeyError, TypeError, RecursionError):  # those of pyarrow are among them
                raise NolaError(f"{self.journal}: line {number} is damaged; take it out, the other lines are sound.") from None
        if mended:
            print(
                f"{self.journal}: lines {', '.join(mended)} count tokens as no server can; these answers are kept without "
                "their cost",
                file=sys.stderr,
            )
        return rows


def _can_be(said: Any) -> bool:
    """Whether it can be a number of tokens or dollars, or none; older versions wrote down whatever a server said."""
    return said is None or (isinstance(said, (int, float)) and 0 <= said < 2**31)


class Recorder:
    """Writes answers as they arrive; made by `Responses.recording`, which holds the lock."""

    def __init__(self, responses: Responses) -> None:
        self.responses = responses
        self.rows = responses._read_journal()
        self.file = os.open(responses.journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self._fold()  # what a killed run left, and the end of a line it may have left cut off

    def record(self, rows: Sequence[dict[str, Any]]) -> None:
        """Put rows (the columns of SCHEMA) on the disk before anything else happens."""
        lines = [json.dumps(row | {"time": row["time"].isoformat()}, ensure_ascii=False) + "\n" for row in rows]
        try:
            os.write(self.file, "".join(lines).encode(errors="replace"))
            os.fsync(self.file)
        except OSError as error:
            raise NolaError(f"{self.responses.journal} cannot be written: {error.strerror}; make room and run again.") from None
        self.rows += rows
        if len(self.rows) >= PART_ROWS:
            self._fold()

    def close(self) -> None:
        """Turn what is in the journal into a part, take the empty journal away, compact."""
        self._fold()
        os.close(self.file)
        self.responses.journal.unlink(missing_ok=True)
        self.responses.compact()

    def _fold(self) -> None:
        if self.rows:
            self.responses._write_part(self.rows)
        os.ftruncate(self.file, 0)
        self.rows = []
