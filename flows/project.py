"""The project: the folder it lies in, and the data sets it names."""

from __future__ import annotations

from pathlib import Path

import yaml

from nola_core.errors import NolaError

MARKS = ("params.yaml", "dvc.yaml")
"""The files of a project's folder; `data/` in it has a dvc.yaml too."""


def project_root() -> Path:
    """The nearest folder at or above the working directory that holds `MARKS`; else the working directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if is_project(folder)), here)


def require_project() -> Path:
    """The project the working directory lies in.

    Raises:
        NolaError: it lies in none.
    """
    root = project_root()
    if not is_project(root):
        raise NolaError(
            f"{root} is not inside a NoLA project: go to one, which holds {' and '.join(MARKS)}, or make one with `nola init`."
        )
    return root


def is_project(folder: Path) -> bool:
    """Whether a folder holds `MARKS`."""
    return all((folder / name).is_file() for name in MARKS)


def dataset_names(root: Path) -> list[str]:
    """The data sets of params.yaml; nothing else of that file is checked.

    Raises:
        NolaError: the file is no YAML, or holds no data sets.
    """
    path = root / "params.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NolaError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    names = values.get("datasets") if isinstance(values, dict) else None
    if not isinstance(names, list) or not names:
        raise NolaError(f"{path} names no data sets: add one with `nola add`.")
    return [str(name) for name in names]
