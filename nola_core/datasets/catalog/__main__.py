"""`nola catalog` and `python -m nola_core.datasets.catalog`: list, check and fetch the data sets of the papers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nola_core.datasets.catalog import fetch, load_entry, names, take_inventory
from nola_core.errors import NolaError


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 when all is well, 1 when something is missing or wrong."""
    parser = argparse.ArgumentParser(prog="nola catalog", description="The data sets of the papers.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="what there is (the default)")
    for command, text in (("check", "count the images in a folder"), ("prepare", "fetch a data set into a folder")):
        add = commands.add_parser(command, help=text)
        add.add_argument("name")
        add.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "check":
            return check(arguments.name, arguments.folder)
        if arguments.command == "prepare":
            fetch(load_entry(arguments.name), arguments.folder)
            return check(arguments.name, arguments.folder)
        listing()
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def listing() -> None:
    """Print every data set with its classes, the images of its splits, and where it comes from."""
    print(f"{'name':14} {'classes':>7} {'train':>9} {'val':>6} {'test':>6}  fetched by   homepage")
    for name in names():
        entry = load_entry(name)
        counts = entry.layouts[0].counts
        numbers = [f"{counts[split]:,}" if split in counts else "-" for split in ("train", "val", "test")]
        by = "hand" if entry.torchvision in (None, "ImageNet") else "torchvision"
        print(f"{name:14} {len(entry.names):>7} {numbers[0]:>9} {numbers[1]:>6} {numbers[2]:>6}  {by:11}  {entry.homepage}")


def check(name: str, folder: Path) -> int:
    """Print what is in a folder; 0 when the data set is complete."""
    inventory = take_inventory(load_entry(name), folder)
    print(f"{name} in {inventory.source}, {inventory.layout}")
    for split, official in inventory.official.items():
        print(f"  {split:5} {inventory.present[split]:>9,} of {official:,}")
    for path in inventory.absent[:10]:
        print(f"  missing {path}")
    if len(inventory.absent) > 10:
        print(f"  and {len(inventory.absent) - 10:,} more")
    print("complete" if inventory.complete else "incomplete")
    return 0 if inventory.complete else 1


if __name__ == "__main__":
    sys.exit(main())
