"""`nola init`: a project of one's own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Json, Quiet
from flows.commands.output import made, notice, print_json

IGNORED = {".gitignore": ".nola/ and .prefect/", ".dvcignore": ".nola and .prefect"}
"""File -> what it should list, where it is the user's own."""


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where; made if it is not there.", file_okay=False, show_default="this folder"),
    ] = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a project: settings, pipeline, and a git and DVC repository around them.

    Nothing that is there is overwritten. Inside a git repository the project becomes a part of it.
    """
    from flows.starter import make_project

    place = Path(os.path.abspath(folder))  # noqa: PTH100 (links are left as they are)
    done = make_project(place)
    notice(f"wrote {', '.join(done.written)}" if done.written else "this is a project already; nothing is missing", quiet=quiet)
    for name in done.kept:
        hint = f"; it should list {IGNORED[name]}" if name in IGNORED else ""
        notice(f"kept your {name} as it is{hint}", quiet=quiet)
    if not done.repository.samefile(place):
        notice(f"part of the git repository {done.repository}", quiet=quiet)
    go = "" if place == Path.cwd() else f"cd {shlex.quote(str(folder))}, "
    notice(f"next: {go}nola add NAME IMAGES --classes 'cat,dog', then nola run", quiet=quiet)
    if as_json:
        print_json({"project": str(place), "written": done.written, "kept": done.kept, "repository": str(done.repository)})
    else:
        made(place)
