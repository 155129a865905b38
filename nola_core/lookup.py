"""Look up names that a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from nola_core.errors import NolaError

COMPARED_NAMES = 20_000
"""The search for similar names covers only this many names; it takes seconds per 100,000."""


def known(wanted: str, names: Sequence[str], kind: str) -> str:
    """`wanted`, if it is one of `names`.

    Raises:
        NolaError: it is not. The message lists similar or available names; `kind` says what they name, such as `class`.
    """
    if wanted in names:
        return wanted
    some = list(names[:COMPARED_NAMES])
    near = difflib.get_close_matches(wanted, some, n=5, cutoff=0.4) or [name for name in some if wanted in name][:5]
    if len(names) <= 12:
        hint = f"there are: {', '.join(names)}" if len(names) else "none exists yet"
    elif near:
        hint = f"most similar of {len(names):,}: {', '.join(near)}"
    else:
        hint = f"there are {len(names):,}, for example {', '.join(names[:3])}"
    raise NolaError(f"there is no {kind} '{wanted}'; {hint}.")


def dataset_folder(root: Path, dataset: str) -> Path:
    """`root/data/<dataset>`.

    Raises:
        NolaError: the data set is not prepared; the message says what to run, or lists the prepared data sets.
    """
    folder = root / "data" / dataset
    prepared = sorted(path.parent.name for path in (root / "data").glob("*/manifest.parquet"))
    if dataset not in prepared and (root / "data" / f"{dataset}.yaml").is_file():
        raise NolaError(f"{folder} has no results yet; run `nola run --dataset {dataset}`.")
    if not prepared:
        raise NolaError(f"{root / 'data'} has no prepared data set yet; run `nola run` to prepare those in params.yaml.")
    return root / "data" / known(dataset, prepared, "data set")
