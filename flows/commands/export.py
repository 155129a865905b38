"""`nola export`: the model of a data set to take away, or its predictions in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.commands.models import dataset_model, model_folder
from flows.commands.options import Dataset, Quiet
from flows.commands.output import made, notice
from flows.commands.place import WORK, Place, find_place
from nola_core.errors import NolaError

To = Literal["model", "csv", "parquet", "imagefolder", "huggingface", "label-studio", "fiftyone", "cleanlab", "onnx", "open_clip"]

CHECKED_FORMATS = {"onnx": "onnxruntime", "open_clip": "open_clip"}
"""The model in the format of another program, which is asked for the same answers."""


def export(
    dataset: Dataset,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="The folder or file to write.")],
    to: Annotated[
        To, typer.Option("--to", help="The model, the model for another program (onnx, open_clip), or its predictions.")
    ] = "model",
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose predictions.", show_default="the final method")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="With onnx and open_clip: images to check it on.", show_default="those of the data set"
        ),
    ] = None,
    include_weights: Annotated[
        bool, typer.Option("--include-weights", help="Put the frozen backbone in, so that nothing else is needed to load it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the model of a data set, or its predictions, for another tool.

    The model is a folder with what was measured. It works without this project: `nola predict FOLDER IMAGES` or
    `nola_core.load(FOLDER)`. `--to onnx` writes it as a graph, `--to open_clip` as plain weights, of a model folder too. All
    other formats are the predictions: `csv` and `parquet` are tables, the others folders.
    """
    _check_options(to, method=method, link=link, images=images, include_weights=include_weights)
    if to in CHECKED_FORMATS:
        _export_checked(dataset, output, images, to=to, quiet=quiet)
        return
    place = find_place(dataset)
    if to == "model":
        _export_model(place, output, include_weights=include_weights, quiet=quiet)
        return

    from nola_core.corrections import sentence
    from nola_core.exports import formats
    from nola_core.files import read_json

    count = formats.export(place.root, place.dataset, to=to, out=output, method=method, link=link)
    notice(f"{count:,} {'image' if count == 1 else 'images'}", quiet=quiet)
    path = place.root / "data" / place.dataset / "metrics.json"
    given = read_json(path).get("corrections") if path.is_file() else None
    if given:
        notice(sentence(given), quiet=quiet)
    made(output)


def _check_options(to: str, *, method: str | None, link: bool, images: Path | None, include_weights: bool) -> None:
    """Refuse options that `to` has no use for."""
    of_predictions = {"--method": method, "--link": link}
    if to == "model" or to in CHECKED_FORMATS:
        for option in (option for option, given in of_predictions.items() if given):
            raise NolaError(f"{option} is for predictions; say which with --to, for example --to csv, or leave it out.")
    if include_weights and to != "model":
        raise NolaError(f"--include-weights is for the model folder; leave it out with --to {to}.")
    if images is not None and to not in CHECKED_FORMATS:
        raise NolaError(f"--images is for --to onnx and open_clip, which check the model on them; leave it out with --to {to}.")


def _export_checked(model: str, output: Path, images: Path | None, *, to: str, quiet: bool) -> None:
    folder, root, dataset = _model(model)
    if images is not None and not images.exists():
        raise NolaError(f"{images} does not exist.")
    if images is None and root is None:
        raise NolaError(f"{folder} has no images to check the export on; give some with --images FOLDER.")

    from nola_core.exports import checking, onnx, openclip
    from nola_core.exports.formats import check_place
    from nola_core.model_folder import load

    check_place(output, suffix="", to=to)
    found = checking.readable(images) if images is not None else checking.collection(root or Path(), dataset)
    check = (onnx if to == "onnx" else openclip).write(load(folder), output, found)
    notice(
        f"{CHECKED_FORMATS[to]} gives the same answer as NoLA for all {check['images']:,} images it was checked on; "
        f"largest difference in a probability: {check['largest_difference']:.1e}",
        quiet=quiet,
    )
    made(output)


def _model(wanted: str) -> tuple[Path, Path | None, str]:
    """A model folder; where its data set lies, if it is known, and what that is called."""
    if (Path(wanted) / WORK / "run.json").is_file():
        place = find_place(wanted)
        return dataset_model(place.root, place.dataset), place.root, place.dataset
    folder = model_folder(wanted)
    of_dataset = folder.name == "model" and folder.parent.parent.name == "data" and folder.parent.name == wanted
    return folder, folder.parent.parent.parent if of_dataset else None, wanted


def _export_model(place: Place, output: Path, *, include_weights: bool, quiet: bool) -> None:
    from dataclasses import replace

    from nola_core.corrections import sentence
    from nola_core.files import read_json
    from nola_core.model_folder import load

    folder = dataset_model(place.root, place.dataset)
    classifier = load(folder, root=place.root)
    metrics = folder.parent / "metrics.json"
    measured = _measured(read_json(metrics), classifier.method) if metrics.is_file() else None
    if measured is None:
        notice("no accuracy was measured: the collection has no labels and no audit, or has not been evaluated", quiet=quiet)
    if given := classifier.about.get("corrections"):
        notice(sentence(given), quiet=quiet)
    classifier = replace(classifier, about={**classifier.about, "measured": measured})
    made(classifier.save(output, include_weights=include_weights))


def _measured(metrics: dict[str, Any], method: str) -> dict[str, Any] | None:
    scores, audit = metrics["methods"].get(method), metrics.get("audit")
    by_person = {"audit": {**audit["methods"][method], "labels": audit["labels"]}} if audit and method in audit["methods"] else {}
    if not scores and not by_person:
        return None
    keys = ("split", "protocol", "images", "labelled")
    return {**{key: metrics[key] for key in keys}, **(scores or {}), **by_person}
