"""Hugging Face data sets on disk, from `save_to_disk` or as Parquet files from the hub. Only pyarrow is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import split_in_path
from nola_core.datasets.readers.table import TableReader, options_of
from nola_core.errors import NolaError
from nola_core.files import read_json


def from_definition(definition: DatasetDefinition) -> TableReader:
    """The reader for a definition; see `open_huggingface`."""
    return open_huggingface(Path(definition.source), **options_of(definition))


def open_huggingface(source: Path, *, splits: Mapping[str, str] | None = None, **options: Any) -> TableReader:
    """The reader of a Hugging Face data set in a folder.

    Supported: a data set or a dictionary of data sets from `save_to_disk`, and a folder of Parquet or Arrow files whose names
    (`train-00000-of-00002.parquet`) or folders contain the split. A source with one split counts as a source without splits.

    Args:
        source: the folder.
        splits: the source's split names -> train, val, test.
        options: see `TableReader`.

    Raises:
        NolaError: the folder is missing or contains none of these, or a file is damaged.
    """
    if not source.is_dir():
        raise NolaError(f"the Hugging Face data set {source} does not exist or is not a folder; check the path.")
    saved: list[tuple[str, str | None]]
    if (source / "dataset_dict.json").is_file():
        parts = _strings(read_json(source / "dataset_dict.json"), "splits", source / "dataset_dict.json")
        saved = [(file, part) for part in parts for file in _saved_files(source, part)]
        folders = [source / part for part in parts]
    elif (source / "state.json").is_file():
        saved, folders = [(file, None) for file in _saved_files(source, "")], [source]
    else:
        saved, folders = _loose_files(source, splits), [source]
    if splits is None and len({split for _, split in saved}) == 1:
        saved = [(file, None) for file, _ in saved]
    return TableReader(source, saved, splits=splits, class_names=_noted_classes(folders), **options)


def is_huggingface(source: Path) -> bool:
    """Whether a folder looks like a Hugging Face data set."""
    return any((source / name).is_file() for name in ("dataset_dict.json", "state.json")) or bool(_tables_in(source))


def _saved_files(source: Path, part: str) -> list[str]:
    state = read_json(source / part / "state.json")
    if isinstance(state, dict) and state.get("_indices_data_files"):
        raise NolaError(
            f"{source / part} stores a selection of rows separately from the rows (written by an old `datasets`); load it, call "
            "flatten_indices() and save it again."
        )
    files = state.get("_data_files") if isinstance(state, dict) else None
    names = [entry.get("filename") for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise NolaError(f"{source / part / 'state.json'} names no data files; save the data set again.")
    return [(Path(part) / str(name)).as_posix() for name in names]


def _loose_files(source: Path, splits: Mapping[str, str] | None) -> list[tuple[str, str | None]]:
    files = _tables_in(source)
    if not files:
        raise NolaError(
            f"{source} contains no Hugging Face data set: no dataset_dict.json, no state.json and no .parquet or .arrow files; "
            "check the path."
        )
    named = [(name, split_in_path(name, splits)) for name in files]
    unknown = [name for name, split in named if split is None]
    if splits is not None:
        named = [(name, split) for name, split in named if split is not None]
        if not named:
            raise NolaError(
                f"{source}: no file name contains one of the words {', '.join(splits)} from images.splits; correct images.splits."
            )
    elif unknown and len(unknown) < len(files):
        raise NolaError(f"{source}: other file names contain their split, but '{unknown[0]}' does not; set images.splits.")
    return named


def _tables_in(source: Path) -> list[str]:
    found = sorted(path.relative_to(source).as_posix() for kind in ("parquet", "arrow") for path in source.rglob(f"*.{kind}"))
    seen = [name for name in found if not any(part.startswith(".") for part in name.split("/"))]
    return [name for name in seen if not name.rsplit("/", 1)[-1].startswith("cache-")]  # results of map()


def _noted_classes(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Column -> class names, from the `dataset_info.json` next to the files."""
    names: dict[str, list[str]] = {}
    for folder in folders:
        path = folder / "dataset_info.json"
        info: Any = read_json(path) if path.is_file() else {}
        features = info.get("features") if isinstance(info, dict) else None
        for column, feature in (features or {}).items():
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                names.setdefault(column, [str(name) for name in feature.get("names") or ()])
    return names


def _strings(values: Any, key: str, path: Path) -> list[str]:
    found = values.get(key) if isinstance(values, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise NolaError(f"{path} lists no {key}; save the data set again.")
    return found
