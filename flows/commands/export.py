"""`nola export`: the model of a data set to take away, or its predictions in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.commands.models import dataset_model, model_folder
from flows.commands.options import Dataset, Quiet
from flows.commands.output import made, notice
from flows.commands.project import find_project
from nola_core.errors import NolaError

To = Literal["model", "csv", "parquet", "imagefolder", "huggingface", "label-studio", "fiftyone", "cleanlab", "onnx"]


def export(
    dataset: Dataset,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="The folder or file to write.")],
    to: Annotated[
        To, typer.Option("--to", help="The model, the model as a graph (onnx), or its predictions for another tool.")
    ] = "model",
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose predictions.", show_default="the final method")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="With onnx: images to check the graph on.", show_default="those of the data set"),
    ] = None,
    include_weights: Annotated[
        bool, typer.Option("--include-weights", help="Put the frozen backbone in, so that nothing else is needed to load it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the model of a data set, or its predictions, for another tool.

    The model is a folder with what was measured. It works without this project: `nola predict FOLDER IMAGES` or
    `nola_core.load(FOLDER)`. `--to onnx` writes it as a graph, of a model folder too. All other formats are the predictions:
    `csv` and `parquet` are tables, the others folders.
    """
    _check_options(to, method=method, link=link, images=images, include_weights=include_weights)
    if to == "onnx":
        _export_graph(dataset, output, images, quiet=quiet)
        return
    root = find_project()
    if to == "model":
        _export_model(root, dataset, output, include_weights=include_weights, quiet=quiet)
        return

    from nola_core.corrections import sentence
    from nola_core.exports import formats
    from nola_core.files import read_json

    count = formats.export(root, dataset, to=to, out=output, method=method, link=link)
    notice(f"{count:,} {'image' if count == 1 else 'images'}", quiet=quiet)
    path = root / "data" / dataset / "metrics.json"
    given = read_json(path).get("corrections") if path.is_file() else None
    if given:
        notice(sentence(given), quiet=quiet)
    made(output)


def _check_options(to: str, *, method: str | None, link: bool, images: Path | None, include_weights: bool) -> None:
    """Refuse options that `to` has no use for."""
    of_predictions = {"--method": method, "--link": link}
    if to in ("model", "onnx"):
        for option in (option for option, given in of_predictions.items() if given):
            raise NolaError(f"{option} is for predictions; say which with --to, for example --to csv, or leave it out.")
    if include_weights and to != "model":
        raise NolaError(f"--include-weights is for the model folder; leave it out with --to {to}.")
    if images is not None and to != "onnx":
        raise NolaError(f"--images is for --to onnx, which checks its graph on them; leave it out with --to {to}.")


def _export_graph(model: str, output: Path, images: Path | None, *, quiet: bool) -> None:
    folder = model_folder(model)
    if images is not None and not images.exists():
        raise NolaError(f"{images} does not exist.")
    of_dataset = folder.name == "model" and folder.parent.parent.name == "data" and folder.parent.name == model
    if images is None and not of_dataset:
        raise NolaError(f"{folder} has no images to check the graph on; give some with --images FOLDER.")

    from nola_core.exports import onnx
    from nola_core.exports.formats import check_place
    from nola_core.model_folder import load

    check_place(output, suffix="", to="onnx")
    found = onnx.readable(images) if images is not None else onnx.collection(folder.parent.parent.parent, model)
    check = onnx.write(load(folder), output, found)
    notice(
        f"onnxruntime gives the same answer as torch for all {check['images']:,} images it was checked on; "
        f"largest difference in a probability: {check['largest_difference']:.1e}",
        quiet=quiet,
    )
    made(output)


def _export_model(root: Path, dataset: str, output: Path, *, include_weights: bool, quiet: bool) -> None:
    from dataclasses import replace

    from nola_core.corrections import sentence
    from nola_core.files import read_json
    from nola_core.model_folder import load

    folder = dataset_model(root, dataset)
    classifier = load(folder, root=root)
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
