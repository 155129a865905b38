"""`nola catalog`: the data sets of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import Command, Group, Json, Quiet, example
from flows.commands.output import made, notice, print_json
from flows.commands.project import complete_catalog
from nola_core.text import printable

if TYPE_CHECKING:
    from nola_core.datasets.catalog import Inventory

SPLITS = ("train", "val", "test")
ABSENT_SHOWN = 10

app = typer.Typer(cls=Group)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set of the catalog.", autocompletion=complete_catalog)]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where its images are or will be.", file_okay=False)]


@app.callback(invoke_without_command=True, epilog=example("nola catalog check dtd ~/datasets/dtd"))
def catalog(context: typer.Context, as_json: Json = False) -> None:
    """List the data sets of the papers, fetch them, check what is there.

    Without a command: list them.
    """
    if context.invoked_subcommand is None:
        show(as_json)
    elif as_json:
        raise typer.BadParameter("goes behind the command", param_hint="'--json'")


@app.command("list", cls=Command, epilog=example("nola catalog list --json"))
def show(as_json: Json = False) -> None:
    """List the data sets with their classes, the images of each split, and where they come from."""
    from nola_core.datasets.catalog import names

    rows = [summary(name) for name in names()]
    if as_json:
        print_json(rows)
        return
    print(f"{'name':14} {'classes':>7} {'train':>9} {'val':>6} {'test':>6}  fetched by   homepage")
    for row in rows:
        counts = [f"{row['images'][split]:,}" if split in row["images"] else "-" for split in SPLITS]
        print(
            f"{row['name']:14} {row['classes']:>7} {counts[0]:>9} {counts[1]:>6} {counts[2]:>6}  "
            f"{row['fetched_by']:11}  {row['homepage']}"
        )


@app.command(cls=Command, epilog=example("nola catalog check dtd ~/datasets/dtd"))
def check(name: Name, folder: Folder, as_json: Json = False) -> None:
    """Count the images of a data set in a folder. Exit status 1 if any are missing."""
    inventory = _inventory(name, folder)
    if as_json:
        counts = {"present": inventory.present, "official": inventory.official, "absent": list(map(str, inventory.absent))}
        print_json({"name": name, "layout": inventory.layout, "complete": inventory.complete, **counts})
    else:
        print("\n".join(printable(line) for line in _lines(name, inventory)))
    if not inventory.complete:
        raise typer.Exit(1)


@app.command(cls=Command, epilog=example("nola catalog prepare dtd ~/datasets/dtd"))
def prepare(name: Name, folder: Folder, quiet: Quiet = False) -> None:
    """Fetch a data set into a folder with torchvision, or say how to do it by hand."""
    from nola_core.datasets.catalog import fetch, load_entry

    fetch(load_entry(name), folder)
    inventory = _inventory(name, folder)
    for line in _lines(name, inventory):
        notice(line, quiet=quiet)
    if not inventory.complete:
        raise typer.Exit(1)
    made(folder)


def summary(name: str) -> dict[str, Any]:
    """What the list says of a data set."""
    from nola_core.datasets.catalog import load_entry

    entry = load_entry(name)
    return {
        "name": name,
        "title": entry.title,
        "classes": len(entry.names),
        "images": entry.layouts[0].counts,
        "fetched_by": "hand" if entry.torchvision in (None, "ImageNet") else "torchvision",
        "homepage": entry.homepage,
    }


def _inventory(name: str, folder: Path) -> Inventory:
    from nola_core.datasets.catalog import load_entry, take_inventory

    return take_inventory(load_entry(name), folder)


def _lines(name: str, inventory: Inventory) -> list[str]:
    """What is in a folder, against what should be."""
    lines = [f"{name} in {inventory.source}, {inventory.layout}"]
    lines += [f"  {split:5} {inventory.present[split]:>9,} of {official:,}" for split, official in inventory.official.items()]
    lines += [f"  missing {path}" for path in inventory.absent[:ABSENT_SHOWN]]
    if len(inventory.absent) > ABSENT_SHOWN:
        lines.append(f"  and {len(inventory.absent) - ABSENT_SHOWN:,} more")
    return [*lines, "complete" if inventory.complete else "incomplete"]
