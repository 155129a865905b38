"""The project a command is about, found from where the user stands, and the names a shell can complete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from flows.project import dataset_names, project_root, require_project
from nola_core.errors import NolaError


def find_project() -> Path:
    """The nearest project at or above the working directory, as a path relative to it.

    Raises:
        NolaError: there is none.
    """
    return Path(os.path.relpath(require_project()))


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


def complete_method(incomplete: str) -> list[str]:
    """The methods, those of the project among them, that begin with what was typed."""
    from nola_core.methods import registry

    return [name for name in registry.names(project_root()) if name.startswith(incomplete)]
