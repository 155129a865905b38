"""Table files: find the columns of images, labels and splits, and read single rows of large files."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nola_core.errors import NolaError

IMAGE_NAMES = ("image", "img", "picture", "photo", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp")
PATH_NAMES = ("image_path", "path", "filepath", "file_path", "image_file", "filename", "file_name", "file")
LABEL_NAMES = ("label", "class", "class_name", "category", "target", "fine_label", "labels")
SPLIT_COLUMNS = ("split", "subset", "partition", "fold")
CACHE_BYTES = 2**26
"""Maximum bytes of images kept in decoded row groups; the last row group is always kept."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used. `embedded`: the image column contains the image bytes, not a path."""

    image: str
    embedded: bool
    label: str | None
    split: str | None
    class_names: tuple[str, ...]


class TableFile(Protocol):
    """One file of a table."""

    @property
    def schema(self) -> pa.Schema:
        """Columns and types."""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows of some columns, in batches."""

    def cell(self, row: int, column: str) -> Any:
        """One value.

        Raises:
            OSError: the row does not exist, or the file is damaged.
        """


def open_table(path: Path) -> TableFile:
    """A CSV, TSV, Parquet or Arrow stream file, by its suffix.

    Raises:
        NolaError: it is missing, of another kind or damaged.
    """
    kinds: dict[str, Callable[[Path], TableFile]] = {
        ".csv": CsvFile,
        ".tsv": CsvFile,
        ".parquet": ParquetFile,
        ".arrow": ArrowFile,
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise NolaError(f"the table {path} must be a .csv, .tsv, .parquet or .arrow file.")
    if path.exists() and not path.is_file():
        raise NolaError(f"the table {path} is not a regular file; give the path of a file.")
    try:
        return kind(path)
    except FileNotFoundError:
        raise NolaError(f"the table {path} does not exist; check the path.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise NolaError(f"the table {path} cannot be read ({_said(error)}).") from None


def choose_columns(
    schema: pa.Schema, *, source: Path, image: str | None = None, label: str | None = None, split: str | None = None
) -> Columns:
    """Which columns to read: the named ones, else those in the file's Hugging Face features, else common names.

    Raises:
        NolaError: a named column does not exist, no column for the images is found, or the type of the image column is wrong.
    """
    listed = ", ".join(schema.names)
    for key, name in (("image_column", image), ("label_column", label), ("split_column", split)):
        if name is not None and name not in schema.names:
            raise NolaError(f"{source} has no column '{name}' (images.{key}); it has {listed}.")
    features = huggingface_features(schema)
    image = image or _of_type(features, "Image") or _first(schema, IMAGE_NAMES) or _first(schema, PATH_NAMES)
    if image is None:
        raise NolaError(
            f"{source}: cannot tell which of the columns {listed} contains the images or paths; set images.image_column."
        )
    kind = schema.field(image).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    embedded = _is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
    if not embedded and not _is_string(kind):
        raise NolaError(
            f"{source}: column '{image}' contains {kind}; images must be bytes, a struct of bytes and path, or paths as text. "
            "Set images.image_column to another column."
        )
    label = label or _of_type(features, "ClassLabel") or _first(schema, LABEL_NAMES)
    names = features.get(label or "", {}).get("names") or ()
    return Columns(image, embedded, label, split or _first(schema, SPLIT_COLUMNS), tuple(names))


def huggingface_features(schema: pa.Schema) -> dict[str, Any]:
    """Column -> feature, as the `datasets` library stores it in a schema's metadata; empty if there is none."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return {name: value for name, value in features.items() if isinstance(value, dict)} if isinstance(features, dict) else {}


def _of_type(features: dict[str, Any], kind: str) -> str | None:
    return next((name for name, feature in features.items() if feature.get("_type") == kind), None)


def _first(schema: pa.Schema, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(schema.names)}
    return next((lower[name] for name in names if name in lower), None)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())


class CsvFile:
    """A CSV or TSV file with a header, all columns as text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parse = pa_csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
        with pa_csv.open_csv(path, parse_options=self._parse) as reader:
            names = reader.schema.names
        self.schema = pa.schema([(name, pa.string()) for name in names])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self.schema.names, pa.string()), include_columns=list(columns), strings_can_be_null=False
        )
        try:
            with pa_csv.open_csv(self.path, parse_options=self._parse, convert_options=convert) as reader:
                yield from reader
        except pa.ArrowException as error:
            raise NolaError(f"the table {self.path} cannot be read ({_said(error)}).") from None

    def cell(self, row: int, column: str) -> Any:
        raise OSError("a CSV table does not contain image bytes")


class ParquetFile:
    """A Parquet file, read one row group at a time; the last row groups are kept, up to `CACHE_BYTES`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = pq.ParquetFile(path)
        self.schema = self._file.schema_arrow
        groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = [0, *accumulate(groups)]
        self._cache: OrderedDict[tuple[int, str], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file.iter_batches(batch_size=4096, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise NolaError(f"the table {self.path} is damaged ({_said(error)}).") from None

    def cell(self, row: int, column: str) -> Any:
        if not 0 <= row < self._starts[-1]:
            raise OSError(f"it has {self._starts[-1]:,} rows now, none numbered {row}")
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            values = self._cache.pop((group, column), None)
            if values is None:
                try:
                    values = self._file.read_row_group(group, columns=[column], use_threads=False).column(0)
                except pa.ArrowException as error:
                    raise OSError(f"row group {group} is damaged ({_said(error)})") from None
                self._bytes += values.nbytes
            self._cache[group, column] = values
            while len(self._cache) > 1 and self._bytes > CACHE_BYTES:
                self._bytes -= self._cache.popitem(last=False)[1].nbytes
        return values[row - self._starts[group]].as_py()


class ArrowFile:
    """An Arrow stream file as written by Hugging Face's `datasets`, memory-mapped."""

    def __init__(self, path: Path) -> None:
        with pa.ipc.open_stream(pa.memory_map(str(path))) as stream:
            self._table = stream.read_all()
        self.schema = self._table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(list(columns)).to_batches(max_chunksize=4096)

    def cell(self, row: int, column: str) -> Any:
        if not 0 <= row < len(self._table):
            raise OSError(f"it has {len(self._table):,} rows now, none numbered {row}")
        return self._table[column][row].as_py()
