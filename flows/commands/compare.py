"""`nola compare`: methods, data sets and runs in one table and one picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flows.commands.options import Json, Quiet
from flows.commands.output import made, notice, print_json, print_table
from flows.commands.project import check_datasets, complete_dataset, find_project
from flows.project import dataset_names, is_project
from nola_core.errors import NolaError
from nola_core.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from nola_core.comparison import Comparison, Score

HERE = "this project"


def compare(
    dataset: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATASET]...", help="The data sets. Without any: all.", autocompletion=complete_dataset, show_default=False
        ),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="RUN",
            help="Another project's folder, or a git revision or DVC experiment of this one; may be repeated.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a picture, too.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods, data sets and runs.

    Shows every method in force on every data set that has been evaluated: its accuracy with a 95 % interval where there are
    labels or an audit, and how often it predicts what the final method predicts. Computes nothing anew.
    """
    root = find_project()
    check_datasets(root, dataset or [])
    if plot is not None and plot.suffix.lower() != ".png":
        raise NolaError(f"{plot} cannot be drawn: the picture is a PNG; choose a name that ends in .png.")
    from nola_core.comparison import compare as side_by_side

    wanted = dataset or dataset_names(root)
    runs: dict[str, dict[str, Any]] = {HERE: _project(root, wanted)}
    for name in dict.fromkeys(other or []):
        place = Path(name)
        runs[name] = _project(place, wanted) if is_project(place) else _revision(root, name, wanted)
        if not runs[name]:
            raise NolaError(f"{name} has no result of {', '.join(wanted)}; run it there first.")
    without = [one for one in wanted if one not in runs[HERE]]
    if not any(runs.values()):
        which = f" --dataset {wanted[0]}" if len(wanted) == 1 else ""
        raise NolaError(f"no result yet of {', '.join(wanted)}; start with `nola run{which}`.")
    comparison = side_by_side(runs)
    notes = [f"{one} has no result yet; next: nola run --dataset {one}" for one in without] + comparison.notes()
    if plot is not None:
        from nola_core.comparison import draw

        draw(comparison, plot)
    if as_json:
        print_json({"runs": list(runs), "rows": [row.values() for row in comparison.rows], "notes": notes})
        return
    _print(comparison)
    for note in notes:
        notice(note, quiet=quiet)
    if plot is not None:
        made(plot)


def _project(root: Path, datasets: Sequence[str]) -> dict[str, Any]:
    """Data set -> metrics of those that have been evaluated."""
    found = {}
    for dataset in datasets:
        path = root / "data" / dataset / "metrics.json"
        if path.is_file():
            try:
                found[dataset] = _checked(path.read_text(encoding="utf-8"), str(path))
            except UnicodeDecodeError:
                raise NolaError(f"{path} is not valid JSON; delete it and run the stage evaluate again.") from None
    return found


def _revision(root: Path, revision: str, datasets: Sequence[str]) -> dict[str, Any]:
    """The same, at a revision, from DVC's cache or remote.

    Raises:
        NolaError: there is no such revision, or none of its metrics is in the cache.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    found, missing = {}, []
    for dataset in datasets:
        path = f"data/{dataset}/metrics.json"
        try:
            found[dataset] = _checked(dvc.api.read(path, repo=str(root), rev=revision), f"{path} of {revision}")
        except RevError:
            raise NolaError(
                f"'{revision}' is neither the folder of a NoLA project nor a git revision or DVC experiment of this one."
            ) from None
        except (FileNotFoundError, DvcException) as error:  # no such file in that revision, or not in the cache
            missing.append(f"{path}: {' '.join(str(error).split())}")
    if not found and missing:
        raise NolaError(f"{revision} has no result that DVC's cache still holds ({missing[0]}); check it out and run it there.")
    return found


def _checked(text: str, source: str) -> Mapping[str, Any]:
    from nola_core.methods.method import InForce

    try:
        metrics = json.loads(text)
        InForce.of(metrics["in_force"])
        _ = (
            metrics["methods"],
            metrics["label_free"],
            metrics["labelled"],
            metrics["images"],
            metrics["split"],
            metrics["protocol"],
        )
    except (ValueError, KeyError, TypeError):
        raise NolaError(f"{source} is damaged or of an earlier version of NoLA; run the stage evaluate again.") from None
    return metrics


def _print(comparison: Comparison) -> None:
    """A table a data set, a row a method; then the mean over the data sets."""
    first, *others = comparison.runs
    for dataset in comparison.datasets:
        measured, base = comparison.measured(dataset), comparison.baseline(dataset)
        score = next(iter(comparison.of(dataset)[0].scores.values()))
        titles = ["method", *(["top-1 %", "95 % interval", "gain"] if measured else [])]
        titles += [title for run in others for title in (run, "change")] if measured else []
        titles += ["agrees %", *([] if measured else ["neighbors %", "variety"])]
        labels = f"{score.labelled:,} of them judged in an audit" if score.audited else f"{score.labelled:,} with a label"
        table = _table(f"{dataset}: {score.images:,} {score.split} images, {labels}", titles)
        for row in comparison.of(dataset):
            mine, final = row.scores.get(first), "final" in row.parts
            cells = [f"{row.title} (final)" if final else row.title]
            if measured:
                cells += [_percent(_of(mine, "top1")), _interval(mine), "" if base is row else _signed(row.gain(first, base))]
                for run in others:
                    theirs = row.scores.get(run)
                    cells += [_percent(_of(theirs, "top1")), _signed(row.change(first, run))]
            cells.append(_percent(_of(mine, "agreement")))
            if not measured:
                cells += [
                    _percent(_of(mine, "neighbors")),
                    "" if mine is None or mine.variety is None else f"{mine.variety:.3f}",
                ]
            _add(table, cells, bold=final)
        _show(table)
    datasets, means = comparison.means(first)
    if means:
        table = _table(f"mean of {', '.join(datasets)}", ["method", "top-1 %"])
        for title, mean in means.items():
            _add(table, [title, _percent(mean)])
        _show(table)


def _table(caption: str, titles: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    print(printable(caption))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, title in enumerate(titles):
        table.add_column(Text(printable(title)), justify="right" if place else "left", no_wrap=place > 0)
    return table


def _add(table: Table, cells: Sequence[str], *, bold: bool = False) -> None:
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells), style="bold" if bold else None)


def _show(table: Table) -> None:
    print_table(table)
    print()


def _of(score: Score | None, name: Literal["top1", "agreement", "neighbors"]) -> float | None:
    return None if score is None else getattr(score, name)


def _interval(score: Score | None) -> str:
    return "" if score is None or score.low is None or score.high is None else f"{_percent(score.low)} – {_percent(score.high)}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _signed(difference: float | None) -> str:
    return "" if difference is None else f"{100 * difference:+.1f}"
