"""`nola clean`: delete what can be computed again, and nothing else.

That is what DVC lists as outputs, in dvc.yaml or in dvc.lock, and the cache `.nola`. Answers that were paid for (`responses/`)
stay, and so does every file nobody here has made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from flows.graph import DATA
from flows.locking import running
from nola_core.errors import NolaError

CACHE = ".nola"
PAID = "responses"
AUDIT = "audit"
"""What people answered in `nola audit`."""
IGNORE = ".gitignore"  # DVC writes it next to its outputs
NAMED = 3


def clean(root: Path) -> Iterator[str]:
    """Clean the project at `root`; yields a sentence for each folder that remains below `data/`.

    Raises:
        NolaError: a run is in progress.
    """
    holder = running(root)
    if holder is not None:
        raise NolaError(f"{holder} is running in {root}; wait until it ends or stop it, then run `make clean` again.")
    for out in sorted(outputs(root)):
        if PAID in out.relative_to(root / DATA).parts[1:]:
            continue
        _delete(out)
        _delete_empty(out.parent, root / DATA)
    _delete(root / CACHE)
    for folder in sorted(path for path in (root / DATA).glob("*") if path.is_dir()):
        yield from _left(folder, f"{DATA}/{folder.name}/")


def _left(folder: Path, name: str) -> Iterator[str]:
    """Sentences that say why a folder remains."""
    if folder.is_symlink():
        yield f"{name} was kept: it is a link to another folder"
        return
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir() and path.name != IGNORE)
    unknown = [str(path) for path in files if path.parts[0] not in (PAID, AUDIT)]
    if any(path.parts[0] == PAID for path in files):
        yield f"{name}{PAID}/ was kept: it contains answers that were paid for"
    if any(path.parts[0] == AUDIT for path in files):
        yield f"{name}{AUDIT}/ was kept: it contains what people answered"
    if unknown:
        count = "1 file" if len(unknown) == 1 else f"{len(unknown)} files"
        some = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
        yield f"{name} was kept: it contains {count} that no stage has written ({some})"
    if not files:
        yield f"{name} was kept: it is an empty folder that no stage has created"


def outputs(root: Path) -> set[Path]:
    """The outputs that DVC lists below `data/`, from dvc.yaml and, for data sets removed since, from dvc.lock."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            listed = {Path(out.fs_path) for out in repo.index.outs}
    except DvcException:  # no repository yet, or an invalid dvc.yaml: use dvc.lock
        listed = set()
    try:
        stages = (yaml.safe_load((root / "dvc.lock").read_text()) or {}).get("stages", {})
        listed |= {root / out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    except FileNotFoundError:
        pass
    except (AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
        raise NolaError(
            f"{root / 'dvc.lock'} cannot be read, so the outputs of DVC are unknown; repair or restore it: {error}"
        ) from error
    return {path for path in listed if root / DATA in path.parents and ".." not in path.parts}


def _delete(path: Path) -> None:
    """Delete a file, a link or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _delete_empty(folder: Path, top: Path) -> None:
    """Delete `folder` and its parents, below `top`, if they contain nothing but DVC's own `.gitignore` files."""
    while top in folder.parents and folder.is_dir() and not folder.is_symlink():
        if any(path.name != IGNORE for path in folder.iterdir()):
            return
        shutil.rmtree(folder)
        folder = folder.parent
