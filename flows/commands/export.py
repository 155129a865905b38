"""`nola export`: the model of a data set to take away, or its predictions in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.commands.options import Dataset, Quiet
from flows.commands.output import made, notice
from flows.commands.project import find_project
from nola_core.errors import NolaError

To = Literal["model", "csv", "parquet", "imagefolder", "huggingface", "label-studio", "fiftyone", "cleanlab"]


def export(
    dataset: Dataset,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="The folder or file to write.")],
    to: Annotated[To, typer.Option("--to", help="The model, or the predictions in the format of another tool.")] = "model",
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose predictions.", show_default="the final method")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    include_weights: Annotated[
        bool, typer.Option("--include-weights", help="Put the frozen backbone in, so that nothing else is needed to load it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the model of a data set, or its predictions for another tool.

    The model is a folder with what was measured. It works without this project: `nola predict FOLDER IMAGES` or
    `nola_core.load(FOLDER)`. With `--to` it is the predictions: `csv` and `parquet` are tables, all others folders.
    """
    root = find_project()
    if to == "model":
        for option, given in {"--method": method, "--link": link}.items():
            if given:
                raise NolaError(f"{option} is for predictions; say which with --to, or leave it out to export the model.")
        _export_model(root, dataset, output, include_weights=include_weights, quiet=quiet)
        return
    if include_weights:
        raise NolaError(f"--include-weights is for the model; --to {to} exports predictions.")

    from nola_core.exports import formats

    count = formats.export(root, dataset, to=to, out=output, method=method, link=link)
    notice(f"{count:,} {'image' if count == 1 else 'images'}", quiet=quiet)
    made(output)


def _export_model(root: Path, dataset: str, output: Path, *, include_weights: bool, quiet: bool) -> None:
    from dataclasses import replace

    from nola_core.files import read_json
    from nola_core.lookup import dataset_folder
    from nola_core.model_folder import load

    folder = dataset_folder(root, dataset)
    if not (folder / "model").is_dir():
        raise NolaError(f"{folder / 'model'} does not exist yet: `nola run --dataset {dataset}` makes it.")
    classifier = load(folder / "model", root=root)
    metrics = folder / "metrics.json"
    measured = _measured(read_json(metrics), classifier.method) if metrics.is_file() else None
    if measured is None:
        notice("no accuracy was measured: the collection has no labels, or has not been evaluated", quiet=quiet)
    classifier = replace(classifier, about={**classifier.about, "measured": measured})
    made(classifier.save(output, include_weights=include_weights))


def _measured(metrics: dict[str, Any], method: str) -> dict[str, Any] | None:
    scores = metrics["methods"].get(method)
    if not scores:
        return None
    keys = ("split", "protocol", "images", "labelled")
    return {**{key: metrics[key] for key in keys}, **scores}
