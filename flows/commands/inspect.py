"""`nola inspect`: look into what the stages wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import Command, Dataset, Group, Json, Quiet, example, help_if_alone
from flows.commands.output import Formats, made, notice, print_page
from flows.commands.project import complete_method, find_project
from nola_core.lookup import dataset_folder

app = typer.Typer(cls=Group)

ClassName = Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only this class, as predicted or described.")]
Image = Annotated[str | None, typer.Option("--image", metavar="ID", help="Only this image.")]
Role = Annotated[Literal["clip", "ssl"], typer.Option(help="Whose features.")]
Rows = Annotated[int, typer.Option(min=1, metavar="N", help="How many rows to show.")]
Offset = Annotated[int, typer.Option(min=0, metavar="N", help="The first row to show, from 0.")]


@app.callback(invoke_without_command=True, epilog=example("nola inspect pseudo-labels digits --class seven --selected"))
def inspect(context: typer.Context) -> None:
    """Look into the results: features, pseudo-labels, descriptions, predictions, images that fit no name.

    No command reads the truth: a class is always the class that was predicted or described.
    """
    help_if_alone(context)


@app.command(cls=Command, epilog=example("nola inspect features digits --role ssl --class seven"))
def features(
    dataset: Dataset,
    role: Role = "ssl",
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="Only this split: train, val or test.")] = None,
    class_name: ClassName = None,
    image: Image = None,
    rows: Rows = 20,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a page of a feature store: which image each row is, its norm and its first values."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.features(root, dataset, role=role, split=split, class_name=class_name, image_id=image, rows=rows, offset=offset)
    print_page(page, as_json=as_json, quiet=quiet, formats={"norm": ".3f", "first_values": _values})


@app.command(cls=Command, epilog=example("nola inspect pseudo-labels digits --class seven --selected"))
def pseudo_labels(
    dataset: Dataset,
    class_name: ClassName = None,
    image: Image = None,
    selected: Annotated[bool, typer.Option("--selected", help="Only those that were taken.")] = False,
    rows: Rows = 20,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a page of the pseudo-labels: every candidate, how sure CLIP is of it, and why it was taken or not."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.pseudo_labels(root, dataset, class_name=class_name, image_id=image, selected=selected, rows=rows, offset=offset)
    formats: Formats = {"confidence": ".3f", "margin": ".3f", "selected": lambda taken: "yes" if taken else "no"}
    print_page(page, as_json=as_json, quiet=quiet, formats=formats)


@app.command(cls=Command, epilog=example("nola inspect descriptions digits --class seven"))
def descriptions(
    dataset: Dataset,
    class_name: ClassName = None,
    rows: Rows = 40,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a page of the class descriptions, and how well each tells its class from the others."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.descriptions(root, dataset, class_name=class_name, rows=rows, offset=offset)
    print_page(page, as_json=as_json, quiet=quiet, formats={"margin": "+.3f"})


@app.command(cls=Command, epilog=example("nola inspect predictions digits --csv digits.csv"))
def predictions(
    dataset: Dataset,
    class_name: ClassName = None,
    image: Image = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose predictions. Without it: those of the final method.",
            autocompletion=complete_method,
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write all of them to this CSV file instead.")
    ] = None,
    rows: Rows = 20,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a page of what every image is, or write all of it to a CSV file."""
    if csv is not None and as_json:
        raise typer.BadParameter("takes no CSV file beside it: choose one of them", param_hint="'--json'")
    root = _project(dataset)
    from nola_core import inspect as core

    if csv is None:
        page = core.predictions(root, dataset, method=method, class_name=class_name, image_id=image, rows=rows, offset=offset)
        print_page(page, as_json=as_json, quiet=quiet, formats={"probability": ".3f"})
        return
    from nola_core.files import replacing
    from nola_core.text import write_spreadsheet

    page = core.predictions(root, dataset, method=method, class_name=class_name, image_id=image)
    with replacing(csv) as scratch:
        write_spreadsheet(scratch, page.table, float_format="%.4f")
    notice(f"{page.whole:,} {page.notes[0]}", quiet=quiet)
    made(csv)


@app.command(cls=Command, epilog=example("nola inspect signals digits"))
def signals(dataset: Dataset, as_json: Json = False, quiet: Quiet = False) -> None:
    """Show what can be told of every method without labels. No signal is an accuracy."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.signals(root, dataset)
    formats: Formats = {name: ".3f" for name in page.table.columns if name not in ("split", "method", "images")}
    print_page(page, as_json=as_json, quiet=quiet, formats=formats)


@app.command(cls=Command, epilog=example("nola inspect unknown digits --group 1"))
def unknown(
    dataset: Dataset,
    class_name: ClassName = None,
    image: Image = None,
    group: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the images of this group.")] = None,
    rows: Rows = 20,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the images that fit the names least, and groups of images that look alike and fit none."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.unknown(root, dataset, class_name=class_name, image_id=image, group=group, rows=rows, offset=offset)
    print_page(page, as_json=as_json, quiet=quiet, formats={"score": ".3f", "probability": ".3f"})


@app.command(cls=Command, epilog=example("nola inspect names digits --absent"))
def names(
    dataset: Dataset,
    absent: Annotated[bool, typer.Option("--absent", help="Only names that seem not to occur.")] = False,
    rows: Rows = 20,
    offset: Offset = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how many images seem to be of each name, and which names seem not to occur."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.names(root, dataset, absent=absent, rows=rows, offset=offset)
    formats: Formats = {"proportion": ".4f", "absent": lambda gone: "yes" if gone else "no"}
    print_page(page, as_json=as_json, quiet=quiet, formats=formats)


@app.command(cls=Command, epilog=example("nola inspect similar digits 0003 --sheet similar.png"))
def similar(
    dataset: Dataset,
    image_id: Annotated[str, typer.Argument(metavar="IMAGE", help="The id of an image.")],
    role: Role = "ssl",
    count: Annotated[int, typer.Option(min=1, metavar="N", help="How many images to show.")] = 10,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Draw them into this PNG file too.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the images most like one image."""
    root = _project(dataset)
    from nola_core import inspect as core

    page = core.similar(root, dataset, image_id, role=role, count=count, sheet=sheet)
    print_page(page, as_json=as_json, quiet=quiet, formats={"similarity": ".4f"})
    if sheet is not None:
        notice(str(sheet), quiet=quiet) if as_json else made(sheet)


@app.command(cls=Command, epilog=example("nola inspect contact-sheet digits --class seven"))
def contact_sheet(
    dataset: Dataset,
    class_name: Annotated[str, typer.Option("--class", metavar="NAME", help="The class.")],
    count: Annotated[int, typer.Option(min=1, metavar="N", help="At most this many images, most confident first.")] = 40,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="The PNG file. Without it: ./DATASET-CLASS.png.")
    ] = None,
) -> None:
    """Draw a class's selected pseudo-labels into one PNG file."""
    root = _project(dataset)
    from nola_core import inspect as core

    made(core.contact_sheet(root, dataset, class_name=class_name, count=count, out=out))


def _project(dataset: str) -> Path:
    """The project, with a data set that has been prepared; known before anything heavy is loaded."""
    root = find_project()
    dataset_folder(root, dataset)
    return root


def _values(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.3f}" for value in values)
