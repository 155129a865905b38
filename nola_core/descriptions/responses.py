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
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.descriptions.cost import Price
from nola_core.descriptions.request import GOOD, Answer, Request, Sampling
from nola_core.descriptions.table import COLUMNS
from nola_core.errors import NolaError
from nola_core.files import digest, write_table

SCHEMA = pa.schema([
    ("key", pa.string()), ("class", pa.string()), ("prompt", pa.string()), ("text", pa.string()), ("provider", pa.string()),
    ("model", pa.string()), ("time", pa.timestamp("ms", tz="UTC")), ("prompt_version", pa.string()), ("sample", pa.int32()),
    ("attempt", pa.int32()), ("finish_reason", pa.string()), ("tokens_in", pa.int32()), ("tokens_out", pa.int32()),
    ("cost", pa.float64()), ("returned_model", pa.string()),
])  # fmt: skip
PART_ROWS = 48  # answers a part: so many are in the journal at most
COMPACT_PARTS = 16  # more small parts than this are made one when a run ends
SMALL_ROWS = 20_000  # parts of at least so many rows are left alone by compaction


@dataclass
class Known:
    """What is known of one data set's requests."""

    good: set[str]  # keys with an answer
    spent: float  # dollars, failures included
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Key -> finish reasons of the answers that were no use."""

    def lacking(self, requests: Sequence[Request], *, attempts: int) -> list[Request]:
        """The requests without an answer, those apart whose `attempts` are used up."""
        return [r for r in requests if r.key not in self.good and len(self.failures.get(r.key, ())) < attempts]

    def summary(self, requests: Sequence[Request]) -> str:
        """What was no use, counted by reason and class: `refusal 2 (cat), length 1 (dog)`; empty where all is well."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for request in requests:
            if request.key not in self.good and self.failures.get(request.key):
                found[self.failures[request.key][-1]][request.question.class_name] += 1
        return ", ".join(
            f"{reason} {classes.total()} ({', '.join(list(classes)[:5])}{', ...' if len(classes) > 5 else ''})"
            for reason, classes in sorted(found.items())
        )


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
        frame = pa.concat_tables([*self._read_parts(), pa.Table.from_pylist(journal, schema=SCHEMA)]).to_pandas()
        return frame[~frame.assign(attempt=frame["attempt"].fillna(0)).duplicated(["key", "attempt"])].reset_index(drop=True)

    def known(self) -> Known:
        """What has been asked already and what it cost."""
        frame = self.read()
        frame = frame[frame["finish_reason"].notna()]
        good = frame["finish_reason"] == GOOD
        known = Known(good=set(frame["key"][good]), spent=float(frame["cost"].clip(lower=0).sum()))
        for key, reason in zip(frame["key"][~good], frame["finish_reason"][~good], strict=True):
            known.failures[key].append(reason)
        return known

    def add(self, rows: pd.DataFrame) -> int:
        """Append the provided rows (`class, prompt, text, provider, model`) that are not there yet, as one part; how many."""
        keys = [digest(dict(zip(COLUMNS, row, strict=True))) for row in rows[COLUMNS].itertuples(index=False)]
        new = rows[COLUMNS].assign(key=keys, time=pd.Timestamp.now("UTC").floor("ms"))
        new = new[~new["key"].isin(self.read()["key"])].drop_duplicates("key")
        if len(new):
            self._write_part(pa.Table.from_pandas(new, preserve_index=False).to_pylist())
        return len(new)

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Yield the one writer of model answers: a second process waits here until the first is done.

        Whoever asks a model looks up what is known inside this block, so that no two processes ask the same.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _opened(self.folder, os.O_RDONLY) as lock:  # the folder itself is locked: a lock file would be one more output
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another run asks for {self.folder}; waiting for its end", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            with _opened(self.journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND) as file:
                recorder = Recorder(self, file)
                try:
                    yield recorder
                finally:
                    recorder.fold()
                    self.journal.unlink(missing_ok=True)
                    self.compact()

    def compact(self) -> None:
        """Make one part of all small ones if there are many. A kill halfway leaves rows twice, and `read` takes them once."""
        parts = sorted(self.folder.glob("*.parquet"))
        small = [part for part in parts if pq.read_metadata(part).num_rows < SMALL_ROWS]
        if len(small) > COMPACT_PARTS:
            merged = pa.concat_tables([_read_part(part) for part in small]).to_pandas()
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
                return [_read_part(part) for part in sorted(self.folder.glob("*.parquet"))]
            except FileNotFoundError:  # another process has just made one part of many
                continue
        raise NolaError(f"the parts of {self.folder} keep changing; wait for the run that writes them.")

    def _read_journal(self) -> list[dict[str, Any]]:
        lines, rows, mended = [b""], [], []
        with suppress(FileNotFoundError):
            lines = self.journal.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # after the last newline: nothing, or a line cut off by a kill
            try:
                row = json.loads(line)
                row |= {"time": pd.Timestamp(row["time"]).to_pydatetime()}
                counts = [row[name] for name in ("tokens_in", "tokens_out", "cost")]
                if not all(count is None or 0 <= count < 2**31 for count in counts):  # as older versions wrote them down
                    row |= {"tokens_in": None, "tokens_out": None, "cost": None}
                    mended.append(str(number))
                pa.Table.from_pylist([row], schema=SCHEMA)
                rows.append(row)
            except (ValueError, KeyError, TypeError, RecursionError):  # those of pyarrow are among them
                raise NolaError(f"{self.journal}: line {number} is damaged; take it out, the other lines are sound.") from None
        if mended:
            said = f"{self.journal}: lines {', '.join(mended)} count tokens as no server can; kept without their cost"
            print(said, file=sys.stderr)
        return rows


class Recorder:
    """Writes answers as they arrive; made by `Responses.recording`, which holds the lock."""

    def __init__(self, responses: Responses, file: int) -> None:
        self.responses, self.file = responses, file
        self.rows = responses._read_journal()
        self.fold()  # what a killed run left, and the end of a line it may have left cut off
        self.known = responses.known()

    def keep(
        self, pairs: Sequence[tuple[Request, Answer]], sampling: Sampling, price: Price | None, *, fallback: float | None = None
    ) -> float:
        """Record answers; the dollars booked: for one whose tokens were not counted `fallback`, or the most it can cost."""
        rows: list[dict[str, Any]] = []
        for request, answer in pairs:
            question, failures = request.question, self.known.failures[request.key]
            cost = None
            if price is not None and answer.tokens_in is not None and answer.tokens_out is not None:
                cost = price.cost(answer.tokens_in, answer.tokens_out)
            elif price is not None:
                cost = price.most([request], sampling) if fallback is None else fallback
            now = pd.Timestamp.now("UTC").floor("ms").to_pydatetime()
            row = (
                request.key, question.class_name, question.prompt, answer.text, "llm", sampling.model, now,
                question.prompt_version, request.sample, len(failures) + 1, answer.finish_reason, answer.tokens_in,
                answer.tokens_out, cost, answer.model,
            )  # fmt: skip
            rows.append(dict(zip(SCHEMA.names, row, strict=True)))
            if answer.finish_reason == GOOD:
                self.known.good.add(request.key)
            else:
                failures.append(answer.finish_reason)
        self.record(rows)
        return sum(row["cost"] or 0.0 for row in rows)

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
            self.fold()

    def fold(self) -> None:
        """Turn what is in the journal into a part."""
        if self.rows:
            self.responses._write_part(self.rows)
        os.ftruncate(self.file, 0)
        self.rows = []


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o644)
    try:
        yield file
    finally:
        os.close(file)


def _read_part(part: Path) -> pa.Table:
    try:
        table = pq.read_table(part)
        columns = [
            table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)  # a part of an older version
            for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise NolaError(f"{part} cannot be read ({' '.join(str(error).split())}); restore it or move it away.") from None
    return pa.Table.from_arrays(columns, schema=SCHEMA)
