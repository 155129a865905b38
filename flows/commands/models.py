"""The model that a command is about: a folder, or the model of a data set."""

from __future__ import annotations

from pathlib import Path

from flows.commands.place import WORK
from flows.commands.project import find_project
from nola_core.errors import NolaError


def model_folder(model: str) -> Path:
    """A folder, or the model of a data set by its name; below `data` a data set's folder is not mistaken for a model."""
    folder = Path(model)
    if (folder / WORK).is_dir() and (folder / "model" / "model.json").is_file():  # what `nola adapt` has written
        return folder / "model"
    try:
        root = find_project()
    except NolaError:
        if folder.is_dir():
            return folder
        raise NolaError(f"there is no model folder {model}.") from None
    of_dataset = root / "data" / model / "model"
    is_folder = (folder / "model.json").is_file() or (folder.is_dir() and not of_dataset.is_dir())
    return folder if is_folder else dataset_model(root, model)


def dataset_model(root: Path, dataset: str) -> Path:
    """The model folder of a data set.

    Raises:
        NolaError: there is no such data set, or it has not been run.
    """
    from nola_core.lookup import dataset_folder

    folder = dataset_folder(root, dataset) / "model"
    if not folder.is_dir():
        raise NolaError(f"{folder} does not exist yet: `nola run --dataset {dataset}` makes it.")
    return folder
