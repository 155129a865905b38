"""`nola doctor`: whether this machine and this project are ready, a line a thing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import Json
from flows.commands.output import print_json
from flows.project import project_root
from nola_core.text import printable

if TYPE_CHECKING:
    from flows.checkup import Finding

COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the weights: the rest takes about a second.")] = False,
    as_json: Json = False,
) -> None:
    """Check machine, packages, project, server, keys and weights: ok, warn or fail, with what to do.

    Works outside a project, too. Nothing is downloaded and no key is shown. Exit status 1 if anything will fail.
    """
    from flows import checkup

    root = Path(project_root())
    findings = chain(checkup.quick(root), () if quick else checkup.weights(root))
    seen = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            _print(finding)
    failed = any(finding.level == "fail" for finding in seen)
    if as_json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in seen]})
    if failed:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    level = f"{finding.level:4}"
    if sys.stdout.isatty():
        level = f"\033[{COLOURS[finding.level]}m{level}\033[0m"
    print(f"{level}  {finding.name:12}  {printable(finding.found)}", flush=True)
    if finding.fix:
        print(f"{'':20}fix: {printable(finding.fix)}", flush=True)
