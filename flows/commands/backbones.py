"""`nola backbones`: the pairs of models there are, and whether one can work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
) -> None:
    """Look at a pair of models: load both, and print what is recorded of them."""
    if pair is None:
        print("\n".join(pair_names()))
        return
    from nola_core.backbones.pairs import load_pair

    chosen, root = load_pair(pair), _root()
    if check:
        from nola_core.backbones.check import check_pair

        for role, weights in check_pair(chosen, root=root).items():
            _print(f"{role}: {getattr(chosen, role).model}", *map(str, weights))
        return
    from nola_core.backbones.clip import load_clip
    from nola_core.backbones.ssl import load_ssl

    for role, encoder in (("clip", load_clip(chosen.clip, root=root).image), ("ssl", load_ssl(chosen.ssl, root=root))):
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
