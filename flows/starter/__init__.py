"""A project of one's own: the files that `nola init` writes, and the git repository around them.

`params.yaml`, `pipeline.yaml` (dvc.yaml) and `first_step.yaml` (data/dvc.yaml) are copies of the files of this checkout; `make
starter` copies them again. The others are written for a new project. None has the name it gets, so that neither DVC nor git
takes this folder for a project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from flows.project import is_project
from nola_core.errors import NolaError

HERE = Path(__file__).parent
FILES = {
    "params.yaml": "params.yaml",
    "data/dvc.yaml": "first_step.yaml",
    "data/.gitignore": "data_gitignore",
    "README.md": "README.md",
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
    ".dvc/.gitignore": "dvc_gitignore",
    ".dvc/config": "dvc_config",
    "dvc.yaml": "pipeline.yaml",  # the last: with it the folder is a project
}
"""File of a project -> file of this folder."""
PIPELINE = ("dvc.yaml", "data/dvc.yaml")
"""Without these very files there is no project; the others may be the user's own, if `params.yaml` holds settings of NoLA."""
SCRATCH = Path(".dvc") / "tmp"
"""Where files are made before they get their names; git and DVC ignore it."""


@dataclass(frozen=True)
class Made:
    """What became of a folder.

    Attributes:
        written: files that were not there.
        kept: files that were there with a content of their own, and were left as they are.
        repository: the folder of the git repository the project is in.
    """

    written: list[str]
    kept: list[str]
    repository: Path


def make_project(folder: Path) -> Made:
    """Make `folder` a project: write what is not there yet, and overwrite nothing.

    What an interruption left half made is completed by another call. A project inside a git repository becomes part of it, and
    no file outside of `folder` is touched; if that repository ignores the project's files, the project gets its own.

    Raises:
        NolaError: git is missing or refuses, the folder lies inside another project, or a file is in the way.
    """
    if shutil.which("git") is None:
        raise NolaError("git is not installed, and a project is a git repository; install git, then run this again.")
    outer = next((above for above in folder.resolve().parents if is_project(above)), None)
    if outer is not None:
        raise NolaError(f"{folder} lies inside the NoLA project {outer}; make the new project elsewhere.")
    missing, kept = _compare(folder)
    *files, last = FILES
    for name in files:
        if name in missing:
            _write(folder, name)
    repository = _repository(folder)
    if last in missing:
        _write(folder, last)
    return Made(missing, kept, repository)


def content(name: str) -> bytes:
    """What `nola init` writes into the file `name` of a project."""
    return (HERE / FILES[name]).read_bytes()


def _compare(folder: Path) -> tuple[list[str], list[str]]:
    """The files that are not there, and those that are there with another content than ours.

    Raises:
        NolaError: one of these is in the way.
    """
    there = [name for name in FILES if os.path.lexists(folder / name)]
    others = [name for name in there if not _holds(folder / name, content(name))]
    for name in others:
        reason = "it is not the pipeline of this version of NoLA" if name in PIPELINE else ""
        if name == "params.yaml":
            reason = _unfit(folder)
        if reason:
            raise NolaError(
                f"{folder / name} is in the way: {reason}. Nothing was changed; move it away and run this again, "
                "or make the project in another folder."
            )
    return [name for name in FILES if name not in there], others


def _unfit(folder: Path) -> str:
    """Why the params.yaml of a folder cannot be that of a project; empty if it can."""
    from nola_core.config import load

    path = folder / "params.yaml"
    try:
        load(folder)
    except NolaError as error:
        return f"it does not hold settings of this version ({str(error).removeprefix(f'{path}: ').rstrip('.')})"
    return ""


def _holds(path: Path, wanted: bytes) -> bool:
    return path.is_file() and path.read_bytes() == wanted


def _write(folder: Path, name: str) -> None:
    """Write a file that is complete at once, and never takes the place of another."""
    path, scratch = folder / name, folder / SCRATCH / f"{uuid.uuid4().hex}.partial"
    for place in (path, scratch):
        place.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.write_bytes(content(name))
        try:
            os.link(scratch, path)  # a rename would overwrite what came there meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("xb") as file:
                file.write(content(name))
    finally:
        scratch.unlink(missing_ok=True)


def _repository(folder: Path) -> Path:
    """The git repository of a project; made, if there is none around the folder or the one there ignores our files."""
    found = _git(folder, "rev-parse", "--show-toplevel")
    if found.returncode == 0:
        top = Path(found.stdout.removesuffix("\n"))
        if top.samefile(folder) or _git(folder, "check-ignore", *PIPELINE).returncode != 0:
            return top
    elif "not a git repository" not in found.stderr:
        raise NolaError(f"git refuses {folder}: {' '.join(found.stderr.split())}")
    made = _git(folder, "init", "--quiet")
    if made.returncode != 0:
        raise NolaError(f"git made no repository in {folder}: {' '.join(made.stderr.split())}")
    return folder.resolve()


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    return subprocess.run(
        ["git", "-C", str(folder), *words], env=environment, capture_output=True, text=True, errors="surrogateescape", check=False
    )
