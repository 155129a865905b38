"""`nola backbones`: the pairs of models there are, and whether one can work."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Json
from flows.commands.output import print_json
from flows.commands.project import complete_pair, find_project
from nola_core.errors import NolaError
from nola_core.text import printable


def backbones(
    pair: Annotated[
        str | None,
        typer.Argument(metavar="PAIR", help="A pair, or CLIP+SSL. Without it: list the pairs.", autocompletion=complete_pair),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether it can work; nothing is built or downloaded.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the pairs of models, or load one and print what is recorded of it."""
    if pair is None:
        print_json(pair_names()) if as_json else print("\n".join(pair_names()))
        return
    from nola_core.backbones.pairs import load_pair

    chosen, root = load_pair(pair), _root()
    if check:
        from nola_core.backbones.check import check_pair

        found = check_pair(chosen, root=root)
        if as_json:
            print_json({role: {"model": getattr(chosen, role).model, "files": list(map(asdict, found[role]))} for role in found})
            return
        for role, weights in found.items():
            _print(f"{role}: {getattr(chosen, role).model}", *map(str, weights))
        return
    from nola_core.backbones.clip import load_clip
    from nola_core.backbones.ssl import load_ssl

    encoders = {"clip": load_clip(chosen.clip, root=root).image, "ssl": load_ssl(chosen.ssl, root=root)}
    if as_json:
        print_json({role: {"features": encoder.dim, **encoder.meta} for role, encoder in encoders.items()})
        return
    for role, encoder in encoders.items():
        _print(f"{role}: {encoder.dim} features", *(f"{key}: {value}" for key, value in encoder.meta.items()))


def pair_names() -> list[str]:
    """The pairs of nola_core/backbones/pairs.yaml."""
    from nola_core.backbones.pairs import PAIRS
    from nola_core.schema import read_yaml

    return list(read_yaml(PAIRS)["pairs"])


def _root() -> Path:
    """Where local weights are counted from: the project, or, outside of one, the working directory."""
    try:
        return find_project()
    except NolaError:
        return Path()


def _print(head: str, *lines: str) -> None:
    print("\n".join([printable(head), *(f"  {printable(line)}" for line in lines)]))
