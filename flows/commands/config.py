"""`nola config`: params.yaml against the preset it names."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.commands.options import Json, Quiet
from flows.commands.output import made, notice, print_json
from flows.commands.project import find_project


def config(
    preset: Annotated[
        Literal["paper", "best"] | None, typer.Option(help="Write this preset's values into params.yaml first.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check params.yaml, and print what differs from the preset it names.

    A wrong key or value is named, with what it may be. Comments are kept when a preset is written.
    """
    path = find_project() / "params.yaml"
    from nola_core.config import load, write_preset

    if preset is not None:
        write_preset(path, preset)
    settings = load(path.parent)
    differences = settings.differences()
    if as_json:
        rows = [{"key": key, "value": mine, "preset_value": theirs} for key, mine, theirs in differences]
        print_json({"preset": settings.preset, "differences": rows})
    elif preset is not None:
        notice(f"wrote the values of the preset {preset}", quiet=quiet)
        made(path)
    else:
        print(f"{path} is sound; preset {settings.preset}, " + ("with these changes:" if differences else "unchanged"))
        for key, mine, theirs in differences:
            print(f"  {key} = {mine} (preset: {theirs})")
