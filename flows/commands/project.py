"""The project a command is about, found from where the user stands, and the names a shell can complete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nola_core.errors import NolaError

MARKS = ("params.yaml", "dvc.yaml")
"""The files that make a folder a project."""


def find_project() -> Path:
    """The nearest project at or above the working directory, as a path relative to it.

    Raises:
        NolaError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if all((folder / name).is_file() for name in MARKS):
            return Path(os.path.relpath(folder, here))
    raise NolaError(f"{here} is not inside a NoLA project: go to a folder that holds {' and '.join(MARKS)}, or below one.")


def dataset_names(root: Path) -> list[str]:
    """The data sets of params.yaml; nothing else of that file is checked.

    Raises:
        NolaError: the file is no YAML, or holds no data sets.
    """
    import yaml

    path = root / "params.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NolaError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    names = values.get("datasets") if isinstance(values, dict) else None
    if not isinstance(names, (list, dict)) or not names:
        raise NolaError(f"{path} names no data sets: add one with `nola add`.")
    return [str(name) for name in names]


def check_datasets(root: Path, wanted: Iterable[str]) -> None:
    """Refuse names that params.yaml does not have, before anything long begins.

    Raises:
        NolaError: a name is not there; says what is.
    """
    from nola_core.lookup import known

    names = dataset_names(root)
    for name in wanted:
        known(name, names, "data set")


def complete_dataset(incomplete: str) -> list[str]:
    """The data sets that begin with what was typed; none where there is no project."""
    try:
        return [name for name in dataset_names(find_project()) if name.startswith(incomplete)]
    except NolaError:
        return []


def complete_catalog(incomplete: str) -> list[str]:
    """The data sets of the catalog that begin with what was typed."""
    from nola_core.datasets.catalog import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_pair(incomplete: str) -> list[str]:
    """The backbone pairs that begin with what was typed."""
    from flows.commands.backbones import pair_names

    return [name for name in pair_names() if name.startswith(incomplete)]
