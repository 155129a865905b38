"""Names that a user typed, held against those there are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from nola_core.errors import NolaError

COMPARED_NAMES = 20_000
"""Beyond this many names the search for similar ones looks at the first alone; it takes seconds per 100,000."""


def known(wanted: str, names: Sequence[str], kind: str) -> str:
    """`wanted`, if it is one of `names`.

    Raises:
        NolaError: it is not; names what is near, or what there is. `kind` says what the names are of, such as `class`.
    """
    if wanted in names:
        return wanted
    some = list(names[:COMPARED_NAMES])
    near = difflib.get_close_matches(wanted, some, n=5, cutoff=0.4) or [name for name in some if wanted in name][:5]
    if len(names) <= 12:
        hint = f"there are: {', '.join(names)}" if len(names) else "there is none at all"
    elif near:
        hint = f"nearest of {len(names):,}: {', '.join(near)}"
    else:
        hint = f"there are {len(names):,}, such as {', '.join(names[:3])}"
    raise NolaError(f"there is no {kind} '{wanted}'; {hint}.")


def dataset_folder(root: Path, dataset: str) -> Path:
    """`root/data/<dataset>`.

    Raises:
        NolaError: nothing was prepared there; says what to run, or names the data sets that were.
    """
    folder = root / "data" / dataset
    prepared = sorted(path.parent.name for path in (root / "data").glob("*/manifest.parquet"))
    if dataset not in prepared and (root / "data" / f"{dataset}.yaml").is_file():
        raise NolaError(f"{folder} holds nothing yet: `nola run --dataset {dataset}` prepares it.")
    if not prepared:
        raise NolaError(f"{root / 'data'} holds no prepared data set yet: `nola run` prepares those of params.yaml.")
    return root / "data" / known(dataset, prepared, "data set")
