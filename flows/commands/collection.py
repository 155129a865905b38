"""`nola add` and `nola remove`: collections of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import Json, Quiet, Templates
from flows.commands.output import made, notice, print_json
from flows.commands.project import complete_catalog, complete_dataset, complete_pair, find_project

NAMES_SHOWN = 5


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: a-z, 0-9 and _.")],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Its images: a folder, a table, a .tar shard, or a pattern of shards.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Class names: 'cat,dog', a text file with one a line, folders, or reader. Without it: what the source knows.",
        ),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="READER", help="How to read SOURCE (docs/data.md). Without it: guessed.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="CLASS", help="SOURCE is the root of this class of torchvision.datasets.")
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="SOURCE is this data set of `nola catalog`.", autocompletion=complete_catalog),
    ] = None,
    labels: Annotated[
        Literal["none", "folders", "reader"] | None,
        typer.Option(help="Where labels are, for evaluation alone. Without it: none, or what the catalog knows."),
    ] = None,
    template: Templates = None,
    descriptions: Annotated[str | None, typer.Option(metavar="FILE", help="A table of sentences about the classes.")] = None,
    backbones: Annotated[
        str | None,
        typer.Option(
            metavar="PAIR",
            help="The two models, see `nola backbones`. Without it: embed.backbones of params.yaml.",
            autocompletion=complete_pair,
        ),
    ] = None,
    outside: Annotated[
        bool, typer.Option("--outside", help="Let a table name images outside of its folder (docs/data.md).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a data set of that name.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Define a collection of your own.

    Looks at SOURCE, writes data/NAME.yaml, lists the name in params.yaml, and says what it found.
    Nothing is written when anything is wrong.
    """
    root = find_project()
    from nola_core.registration import add as register

    found = register(
        root,
        name,
        source,
        classes=classes,
        reader=reader,
        dataset=dataset,
        catalog=catalog,
        labels=labels,
        templates=template or (),
        descriptions=descriptions,
        backbones=backbones,
        outside=outside,
        force=force,
    )
    images = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
    notice(f"{name}: {images} images (reader {found.reader}), {len(found.classes)} classes: {_some(found.classes)}", quiet=quiet)
    if found.warning:
        notice(f"warning: its backbones cannot work yet: {found.warning}")
    for warning in _doubts(found.classes):
        notice(f"warning: {warning}", quiet=quiet)
    notice(f"next: nola run --dataset {name}", quiet=quiet)
    path = Path(os.path.normpath(root / "data" / f"{name}.yaml"))
    if as_json:
        print_json({"definition": str(path), **asdict(found)})
    else:
        made(path)


def _doubts(names: Sequence[str]) -> list[str]:
    """What can be said of class names before there are features; `nola run` measures the rest."""
    from nola_core.datasets.names import not_english, telling_nothing

    found = []
    if nothing := telling_nothing(names):
        found.append(f"no model can know what these names mean: {_some(nothing)}; give words, or sentences with --descriptions")
    if strange := not_english(names):
        found.append(
            f"most models know English alone, and these names have other letters: {_some(strange)}; use English names, or a pair "
            "of backbones that knows the language"
        )
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.", autocompletion=complete_dataset)],
    quiet: Quiet = False,
) -> None:
    """Take a collection out again.

    Deletes data/NAME.yaml and its name in params.yaml. Images and results stay.
    """
    root = find_project()
    from nola_core.registration import remove as unregister

    unregister(root, name)
    notice(f"removed data/{name}.yaml and its name in params.yaml; data/{name}/ is left as it is", quiet=quiet)
