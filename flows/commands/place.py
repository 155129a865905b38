"""What a command is about: a data set of the project, or the folder that `nola adapt` has written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.commands.project import find_project
from flows.project import is_project, project_root
from nola_core.errors import NolaError
from nola_core.lookup import dataset_folder

WORK = ".nola-run"
"""In the folder that `nola adapt` writes: what an interrupted run goes on from, and what `explore` and `audit` read."""


@dataclass(frozen=True)
class Place:
    """Results and where they lie.

    Attributes:
        root: what holds `data/<dataset>`: the project, or the working folder in `output`.
        output: the folder that `nola adapt` has written; None for a data set of a project.
    """

    root: Path
    dataset: str
    output: Path | None = None

    @property
    def again(self) -> str:
        """The command that makes the next run."""
        return f"nola run --dataset {self.dataset}" if self.output is None else f"nola adapt ... -o {self.output}, as before"

    @property
    def name(self) -> str:
        """As a user types it."""
        return str(self.output or self.dataset)


def find_place(wanted: str) -> Place:
    """A data set by its name, its folder or its model's folder, or a folder that `nola adapt` has written.

    Raises:
        NolaError: it is none of them, or there are no results yet.
    """
    folder = Path(wanted)
    for output in (folder, folder.parent) if folder.name == "model" else (folder,):
        if (output / WORK / "run.json").is_file():
            return _adapted(output)
    if not is_project(project_root()) and (outputs := _outputs(wanted)):
        if len(outputs) > 1:
            raise NolaError(f"'{wanted}' was adapted in {' and '.join(map(str, outputs))}; name one of these folders.")
        return _adapted(outputs[0])
    root = find_project()
    dataset = _dataset(root, wanted)
    dataset_folder(root, dataset)
    return Place(root, dataset)


def _outputs(dataset: str) -> list[Path]:
    """Folders here that `nola adapt` has written about a data set, which its report names without a folder."""
    from nola_core.files import read_json

    found = sorted(Path().glob(f"*/{WORK}/run.json"))
    return [path.parent.parent for path in found if read_json(path).get("dataset") == dataset]


def _adapted(output: Path) -> Place:
    from nola_core.files import read_json

    dataset = read_json(output / WORK / "run.json").get("dataset")
    if dataset is None:
        raise NolaError(f"{output} holds no finished run; run the same `nola adapt` again.")
    return Place(output / WORK, dataset, output)


def _dataset(root: Path, wanted: str) -> str:
    """The data set that is named, or whose folder is.

    Raises:
        NolaError: a model that lies elsewhere: there are no images beside it.
    """
    folder = Path(wanted)
    named = folder.name == wanted and (root / "data" / wanted / "manifest.parquet").is_file()
    if named or not folder.is_dir():
        return wanted
    for place in (folder, folder.parent):
        if place.resolve().parent == (root / "data").resolve() and (place / "manifest.parquet").is_file():
            return place.resolve().name
    if (folder / "model.json").is_file():
        raise NolaError(
            f"{wanted} is a model without its images; name the data set instead, in the project that made the model, or the "
            "folder that `nola adapt` has written."
        )
    return wanted
