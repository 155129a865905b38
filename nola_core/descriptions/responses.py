"""The response cache: append-only Parquet parts that no stage ever deletes, because answers may have been paid for."""

from __future__ import annotations

import uuid
from pathlib import Path

import pandas as pd
import pyarrow as pa

from nola_core.files import digest, read_table, write_table

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("class", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
    ]
)


class Responses:
    """The parts of one data set: `data/<dataset>/responses/*.parquet`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> pd.DataFrame:
        """All responses, oldest part first."""
        parts = [read_table(part) for part in sorted(self.folder.glob("*.parquet"))]
        return pd.concat(parts, ignore_index=True) if parts else SCHEMA.empty_table().to_pandas()

    def add(self, rows: pd.DataFrame) -> int:
        """Append the rows (`class, prompt, text, provider, model`) that are not there yet, as one new part; how many were."""
        columns = ["class", "prompt", "text", "provider", "model"]
        keys = [digest(dict(zip(columns, row, strict=True))) for row in rows[columns].itertuples(index=False)]
        known = self.read()
        new = rows[columns].assign(key=keys, time=pd.Timestamp.now("UTC").floor("ms"))
        new = new[~new["key"].isin(known["key"])].drop_duplicates("key")
        if len(new):
            number = len(list(self.folder.glob("*.parquet")))
            write_table(self.folder / f"{number:06d}-{uuid.uuid4().hex[:8]}.parquet", new, SCHEMA)
        return len(new)
