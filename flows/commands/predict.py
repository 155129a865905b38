"""`nola predict`: the model that a run has made, used on other images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.models import model_folder
from flows.commands.options import Json, Quiet
from flows.commands.output import made, notice, print_json, print_page
from nola_core.errors import NolaError

if TYPE_CHECKING:
    from nola_core.datasets.given import Images


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a data set that has been run.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Image files and folders of images.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write all columns to FILE: .csv, .parquet or .jsonl."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict the class of images.

    One row an image, in order. An image that cannot be read gets a row with the reason.
    """
    from nola_core.sinks import check_suffix

    if output is not None:
        check_suffix(output)
    folder = model_folder(model)
    missing = [path for path in images if not Path(path).exists()]
    if len(missing) == len(images):
        raise NolaError(f"{missing[0]} does not exist.")

    import time

    from nola_core.datasets.given import count
    from nola_core.model_folder import load
    from nola_core.progress import progress
    from nola_core.sinks import opened

    classifier = load(folder)
    wanted = _given(images)
    total = sum(count(path) or 0 for path in images)
    start, done, broken, tables = time.monotonic(), 0, 0, []
    if output is not None:
        with opened(output) as write, progress(total=total, what="predict", unit="images") as advance:
            for table in classifier.stream(wanted):
                write(table)
                advance(len(table))
                done, broken = done + len(table), broken + int(table["reason"].notna().sum())
    else:
        for table in classifier.stream(wanted):
            tables.append(table)
            done, broken = done + len(table), broken + int(table["reason"].notna().sum())
    rate = done / max(time.monotonic() - start, 1e-9)
    if output is not None:
        made(output)
    else:
        _print(tables, as_json=as_json)
    unread = f"; {broken:,} could not be read, see the column reason" if broken else ""
    notice(f"{done:,} {'image' if done == 1 else 'images'}, {rate:,.1f} per second{unread}", quiet=quiet)
    if done == broken:
        raise typer.Exit(1)


def _given(paths: list[str]) -> Images:
    """One folder or file as it is; several, with the folders' images under their full paths."""
    if len(paths) == 1:
        return paths[0]
    from nola_core.datasets.given import given

    return [str(one.source) for path in paths for one in given(path)]


def _print(tables: list[Any], *, as_json: bool) -> None:
    import pandas as pd

    from nola_core.inspect import Page

    table = pd.concat(tables, ignore_index=True)
    if as_json:
        print_json(table.astype(object).where(table.notna(), None).to_dict("records"))
        return
    shown = table[["image", "class", "probability"]]
    if table["reason"].notna().any():
        shown = shown.assign(reason=table["reason"].fillna(""))
    print_page(
        Page(shown, offset=0, whole=len(shown), notes=()),
        as_json=False,
        quiet=True,
        formats={"probability": lambda p: "" if pd.isna(p) else f"{p:.3f}", "class": lambda name: "" if pd.isna(name) else name},
    )
