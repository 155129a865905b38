"""The response cache: append-only Parquet parts that no stage ever deletes, because answers may have been paid for.

Answers of a model go through a journal: a line is on the disk before the next request leaves, and every few dozen lines
become a part. Whenever a run is killed, the next one finds all that had arrived.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.config import Describe
from nola_core.descriptions.asking.request import GOOD, Answer, Price, Request
from nola_core.descriptions.texts.table import COLUMNS
from nola_core.errors import NolaError
from nola_core.files import digest, write_table
from nola_core.text import enumerated

SCHEMA = pa.schema([
    ("key", pa.string()), ("class", pa.string()), ("prompt", pa.string()), ("text", pa.string()), ("provider", pa.string()),
    ("model", pa.string()), ("time", pa.timestamp("ms", tz="UTC")), ("prompt_version", pa.string()), ("sample", pa.int32()),
    ("attempt", pa.int32()), ("finish_reason", pa.string()), ("tokens_in", pa.int32()), ("tokens_out", pa.int32()),
    ("cost", pa.float64()), ("returned_model", pa.string()),
])  # fmt: skip
COUNTS = ("tokens_in", "tokens_out", "cost")
PART_ROWS = 48  # answers a part: at most so many are in the journal
COMPACT_PARTS = 16  # more small parts than this are merged when a run ends
SMALL_ROWS = 20_000  # parts with at least so many rows are left alone by that


@dataclass
class Known:
    """What is known of one data set's requests."""

    good: set[str]  # keys with an answer
    failures: dict[str, list[str]]  # key -> finish reasons of the answers of no use
    spent: float  # dollars, failures included

    def lacking(self, requests: Sequence[Request], *, attempts: int) -> list[Request]:
        """The requests without an answer, except those whose `attempts` are used up."""
        return [r for r in requests if r.key not in self.good and len(self.failures.get(r.key, ())) < attempts]

    def summary(self, requests: Sequence[Request]) -> str:
        """The requests with failures alone, by reason and class: `length 1 (dog), refusal 2 (cat)`; empty if there are none."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for request in requests:
            if request.key not in self.good and (reasons := self.failures.get(request.key)):
                found[reasons[-1]][request.question.class_name] += 1
        return ", ".join(f"{reason} {found[reason].total()} ({enumerated(found[reason])})" for reason in sorted(found))


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
        journal = pa.Table.from_pylist(self.read_journal(), schema=SCHEMA)  # before the parts: its lines may become one
        for _ in range(100):
            try:
                tables = [_read_part(part) for part in self._parts()]
            except FileNotFoundError:  # another process has just merged parts
                continue
            return pa.concat_tables([*tables, journal]).to_pandas().drop_duplicates(["key", "attempt"], ignore_index=True)
        raise NolaError(f"the parts of {self.folder} keep changing; wait for the run that writes them.")

    def read_journal(self) -> list[dict[str, Any]]:
        """The rows of the journal; a line that was cut off by a kill is left out.

        Raises:
            NolaError: a line is damaged.
        """
        lines, rows = [b""], []
        with suppress(FileNotFoundError):  # another process may remove it at any moment
            lines = self.journal.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # after the last newline: nothing, or a line cut off
            try:
                row = json.loads(line)
                row["time"] = pd.Timestamp(row["time"]).to_pydatetime()
                if not all(row[name] is None or 0 <= row[name] < 2**31 for name in COUNTS):  # of an older version
                    row |= dict.fromkeys(COUNTS)
                    print(f"{self.journal}: line {number} has an impossible count; kept without its cost", file=sys.stderr)
                rows += pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
            except (ValueError, KeyError, TypeError, RecursionError):  # those of pyarrow are among them
                raise NolaError(f"{self.journal}: line {number} is damaged; remove it, the other lines are sound.") from None
        return rows

    def known(self) -> Known:
        """What has been asked already and what it cost."""
        frame = self.read().dropna(subset="finish_reason")
        good = frame["finish_reason"] == GOOD
        failures = frame[~good].groupby("key")["finish_reason"].agg(list)
        lists = defaultdict(list, zip(failures.index, failures, strict=True))
        return Known(set(frame["key"][good]), lists, spent=float(frame["cost"].clip(lower=0).sum()))

    def add(self, rows: pd.DataFrame) -> int:
        """Append the provided rows (`class, prompt, text, provider, model`) that are not there yet, as one part; how many."""
        keys = [digest(row) for row in rows[COLUMNS].to_dict("records")]
        new = rows[COLUMNS].assign(key=keys, time=pd.Timestamp.now("UTC").floor("ms"))
        new = new[~new["key"].isin(self.read()["key"])].drop_duplicates("key")
        self.write_part(new.to_dict("records"))
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
                recorder.fold()
                self.journal.unlink(missing_ok=True)
                self._compact()
        finally:
            os.close(lock)

    def write_part(self, rows: Sequence[dict[Any, Any]]) -> None:
        """Write rows as the next part, if there are any."""
        if rows:
            number = max((int(part.name[:6]) for part in self._parts() if part.name[:6].isdecimal()), default=-1) + 1
            part = self.folder / f"{number:06d}-{uuid.uuid4().hex[:8]}.parquet"
            write_table(part, pa.Table.from_pylist(list(rows), schema=SCHEMA).to_pandas(), SCHEMA)

    def _compact(self) -> None:
        """Merge all small parts if there are many. A kill halfway leaves rows twice, and `read` takes them once."""
        small = [part for part in self._parts() if pq.read_metadata(part).num_rows < SMALL_ROWS]
        if len(small) > COMPACT_PARTS:
            merged = pa.concat_tables(map(_read_part, small)).to_pandas()
            write_table(self.folder / f"{small[0].name[:6]}-{uuid.uuid4().hex[:8]}.parquet", merged, SCHEMA)
            for part in small:
                part.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


class Recorder:
    """Writes answers as they arrive; made by `Responses.recording`, which holds the lock."""

    def __init__(self, responses: Responses) -> None:
        self.responses = responses
        self.rows = responses.read_journal()
        self.fold()  # what a killed run left, and the end of a line it may have left cut off
        self.known = responses.known()

    def keep(
        self, pairs: Sequence[tuple[Request, Answer]], settings: Describe, price: Price | None, *, fallback: float | None = None
    ) -> float:
        """Record answers; the dollars booked: for one whose tokens were not counted `fallback`, or the most it can cost."""
        rows: list[dict[str, Any]] = []
        for request, answer in pairs:
            question, failures, cost = request.question, self.known.failures[request.key], None
            if price is not None and answer.tokens_in is not None and answer.tokens_out is not None:
                cost = price.cost(answer.tokens_in, answer.tokens_out)
            elif price is not None:
                cost = price.most([request], settings) if fallback is None else fallback
            asked = {"key": request.key, "class": question.class_name, "prompt": question.prompt, "sample": request.sample}
            asked |= {"provider": "llm", "model": settings.model, "prompt_version": question.prompt_version}
            booked = {"time": pd.Timestamp.now("UTC").floor("ms").to_pydatetime(), "attempt": len(failures) + 1, "cost": cost}
            rows.append(asked | asdict(answer) | booked)
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
            with self.responses.journal.open("ab") as file:
                file.write("".join(lines).encode(errors="replace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NolaError(f"{self.responses.journal} cannot be written: {error.strerror}; make room and run again.") from None
        self.rows += rows
        if len(self.rows) >= PART_ROWS:
            self.fold()

    def fold(self) -> None:
        """Turn what is in the journal into a part."""
        self.responses.write_part(self.rows)
        self.responses.journal.write_bytes(b"")
        self.rows = []


def _read_part(part: Path) -> pa.Table:
    try:
        return pq.read_table(part, schema=SCHEMA)  # a part of an older version may lack columns: they are null
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise NolaError(f"{part} cannot be read ({' '.join(str(error).split())}); restore it or move it away.") from None
