"""`nola adapt`: from a folder to predictions, a model and a report, without a project."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.delivery import MODEL, PAGE, TABLE, deliver
from flows.commands.options import Json, Quiet, Templates
from flows.commands.output import made, notice, print_json
from flows.commands.place import WORK
from flows.commands.project import complete_pair
from nola_core.errors import NolaError
from nola_core.text import enumerated

if TYPE_CHECKING:
    from nola_core.adaptation import Work
    from nola_core.estimate import Estimate

ASK_SECONDS = 60.0
"""Longer runs ask before they start, where somebody can answer."""
LONGEST_SECONDS = 600.0
"""Longer runs need --yes where nobody can."""
FEW_EPOCHS = 5


def adapt(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The images: JPEG, PNG, WebP, TIFF, BMP or GIF, nested as you like.")
    ],
    classes: Annotated[
        str, typer.Option(metavar="NAMES", help="Class names: 'cat,dog', a text file with one a line, or a CSV file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write: a new or an empty folder.")],
    backbones: Annotated[
        str | None,
        typer.Option(
            metavar="PAIR",
            help="The two models, see `nola backbones`, or a YAML file with `clip` and `ssl`. "
            "Without it: paper if its weights are within reach, else offline.",
            autocompletion=complete_pair,
        ),
    ] = None,
    template: Templates = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Tune CLIP itself, too, as the paper does: for a GPU, or for few images.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Of --tune.")] = 50,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without a question, however long it takes.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict the classes of a folder of images, without a project.

    Writes predictions.csv, the model and a report into OUT. Says first how long it will take. Nothing is tuned unless you say
    --tune. After an interruption, the same command goes on where it stopped.
    """
    from nola_core.datasets.class_list import read_class_list

    names = read_class_list(classes)
    images = _images(folder, output)
    work = output / WORK
    known = _known(output, images)
    chosen, why = _backbones(backbones)

    from flows.locking import run_lock
    from nola_core.adaptation import PAGE as PAGE_STEPS
    from nola_core.adaptation import STEPS, TEMPLATE, Work
    from nola_core.files import digest, write_json

    asked: dict[str, Any] = {
        "classes": names,
        "backbones": chosen,
        "templates": template or [TEMPLATE],
        "settings": _settings(tune=tune, epochs=epochs),
    }
    agreed = known.get("agreed") == digest(asked)
    new = not output.exists() or not any(output.iterdir())
    work.mkdir(parents=True, exist_ok=True)
    with run_lock(work, lambda text: notice(text, quiet=quiet)), _resumable(quiet=quiet):
        record = {"images": str(images), "agreed": known.get("agreed")}
        write_json(work / "run.json", record)
        job = Work(work.resolve(), _slug(images))
        with _stages(quiet=quiet, said=True):
            job.write(images, names, backbones=chosen, templates=asked["templates"], settings=asked["settings"])
            job.run("prepare")
        if agreed:
            notice(f"going on with the run that was interrupted in {output}", quiet=quiet)
        else:
            try:
                _agree(job, names, chosen, why, tune=tune, epochs=epochs, yes=yes, quiet=quiet)
            except (NolaError, typer.Abort):
                if new:
                    _forget(work)
                raise
        write_json(work / "run.json", {**record, "agreed": digest(asked)})
        with _stages(quiet=quiet):
            for step in STEPS + PAGE_STEPS:
                job.run(*step)
        counts = deliver(job, output)
        findings = _findings(job, counts)
        write_json(work / "run.json", {"images": str(images), "dataset": job.name, "agreed": None})
    paths = {"predictions": output / TABLE, "model": output / MODEL, "report": output / PAGE}
    if as_json:
        print_json({**{key: str(path) for key, path in paths.items()}, **counts, "findings": findings})
        return
    for line in [_counted(counts), *findings]:
        notice(line, quiet=quiet)
    notice(f"next: nola explore {output} shows the images, nola audit {output} measures the accuracy", quiet=quiet)
    for path in paths.values():
        made(path)


def _images(folder: Path, output: Path) -> Path:
    """The folder of images, looked at before anything else."""
    if not folder.exists():
        raise NolaError(f"{folder} does not exist; give the folder of your images.")
    if not folder.is_dir():
        raise NolaError(f"{folder} is no folder; `nola add` in a project reads tables and shards, too.")
    images, out = folder.resolve(), output.resolve()
    if images.is_relative_to(out) or out.is_relative_to(images):
        raise NolaError(f"the output {output} overlaps with the images in {folder}; choose a folder beside it with -o.")
    from nola_core.datasets.given import given

    next(iter(given(folder)))  # says if there is none
    return images


def _known(output: Path, images: Path) -> Mapping[str, Any]:
    """What an earlier run has left in the output folder; empty in a new one.

    Raises:
        NolaError: the folder holds something else, or the results for other images.
    """
    if output.exists() and not output.is_dir():
        raise NolaError(f"{output} is a file; choose a folder for the results.")
    held = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
    record = output / WORK / "run.json"
    if held and held != [WORK] and not record.is_file():
        raise NolaError(f"{output} holds other things ({enumerated(held, most=3)}); choose a new or an empty folder with -o.")
    if not record.is_file():
        return {}
    from nola_core.files import read_json

    known: dict[str, Any] = read_json(record)
    if known.get("images") != str(images):
        raise NolaError(f"{output} holds the results for {known.get('images')}; choose another folder with -o.")
    return known


def _backbones(choice: str | None) -> tuple[str | Mapping[str, Any], str]:
    """The pair, and why it is not the usual one."""
    from nola_core.backbones.check import check_pair
    from nola_core.backbones.choice import working
    from nola_core.backbones.pairs import load_pair

    if choice is None:
        return working()
    if not choice.endswith((".yaml", ".yml")):
        check_pair(load_pair(choice))
        return choice, ""
    from nola_core.adaptation import absolute
    from nola_core.schema import read_yaml

    pair = absolute(read_yaml(Path(choice)))
    check_pair(load_pair(pair))
    return pair, ""


def _settings(*, tune: bool, epochs: int) -> dict[str, Any]:
    """The preset `best`, which tunes nothing; with --tune the student that its method teaches is the product."""
    from nola_core.config import preset_values

    values: dict[str, Any] = {"preset": "best", **preset_values("best"), "methods": ["zero_shot", "templates", "evidence"]}
    if tune:
        values["methods"] = [*values["methods"], "nola"]
        values |= {"final": "nola", "nola": {**values["nola"], "epochs": epochs}}
    return values


def _slug(images: Path) -> str:
    """The name of the folder as one of a data set."""
    return re.sub(r"[^a-z0-9]+", "_", images.name.lower()).strip("_") or "images"


def _agree(
    job: Work,
    names: Sequence[str],
    backbones: str | Mapping[str, Any],
    why: str,
    *,
    tune: bool,
    epochs: int,
    yes: bool,
    quiet: bool,
) -> None:
    """Say what will be done and how long it takes, and ask where it takes long and somebody can answer.

    Raises:
        typer.Abort: the answer is no.
        NolaError: it takes long, and nobody can answer.
    """
    from nola_core.estimate import estimate, spoken

    pair = backbones if isinstance(backbones, str) else "your own"
    if why:
        notice(f"backbones: {pair}, because {why}", quiet=quiet)
    notice("timing a few batches on this machine ...", quiet=quiet)
    with _stages(quiet=True):
        found = estimate(job.paths)
    quicker = _quicker(found, pair, tune=tune, epochs=epochs)
    for line in _plan(found, names, pair, tune=tune, epochs=epochs):
        notice(line, quiet=quiet)
    if quicker and found.total > ASK_SECONDS:
        notice(f"Quicker: {quicker}.", quiet=quiet)
    if yes or found.total <= ASK_SECONDS:
        return
    if _terminal():
        typer.confirm(f"Start? It takes {spoken(found.total)}.", default=True, err=True, abort=True)
    elif found.total > LONGEST_SECONDS:
        instead = f" Quicker: {quicker}." if quicker else ""
        raise NolaError(f"this takes {spoken(found.total)} here, and nobody can be asked; add --yes to start it.{instead}")


def _terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _forget(work: Path) -> None:
    """Remove a working folder, and the output folder if nothing else is in it."""
    shutil.rmtree(work)
    with contextlib.suppress(OSError):
        work.parent.rmdir()


def _plan(found: Estimate, names: Sequence[str], pair: str, *, tune: bool, epochs: int) -> Iterator[str]:
    from nola_core.device import device
    from nola_core.estimate import spoken

    unread = f" ({found.unusable:,} more cannot be read)" if found.unusable else ""
    place = device()
    where = f"the CPU ({_threads()})" if place.type == "cpu" else str(place)
    yield f"{found.images:,} images{unread}, {len(names):,} classes: {enumerated(names)}. Backbones: {pair}, on {where}."
    kept = min(found.embedded.values())
    there = f" ({kept:,} images are embedded already)" if kept else ""
    steps = [f"embedding: {spoken(found.seconds['embedding'])}{there}", f"fitting: {spoken(found.seconds['fitting'])}"]
    if "tuning" in found.seconds:
        steps.append(f"tuning, {epochs} epochs: {spoken(found.seconds['tuning'])}")
    steps.append(f"report: {spoken(found.seconds['report'])}")
    yield f"{'; '.join(steps).capitalize()}. Together {spoken(found.total)}."
    if not tune:
        more = found.tuning(50)
        yield (
            "The preset is best: its method fits the frozen features and tunes nothing. --tune also tunes CLIP"
            + (f", which takes {spoken(more)} more here." if more == more else ".")
        )


def _quicker(found: Estimate, pair: str, *, tune: bool, epochs: int) -> str:
    """Options that take less time, with that time where it is known."""
    from nola_core.device import device
    from nola_core.estimate import spoken

    options = []
    if tune:
        rest = found.total - found.seconds["tuning"]
        options.append(f"without --tune ({spoken(rest)})")
        if epochs > FEW_EPOCHS:
            few = rest + found.seconds["tuning"] * FEW_EPOCHS / epochs
            options.append(f"--epochs {FEW_EPOCHS} ({spoken(few)})")
    if found.seconds["embedding"] > ASK_SECONDS and pair not in ("offline", "demo"):
        options.append("--backbones offline, whose towers are small")
    if found.total > ASK_SECONDS and device().type == "cpu":
        options.append("a machine with a GPU")
    return ", ".join(options)


def _threads() -> str:
    import torch

    count = torch.get_num_threads()
    return f"{count} {'thread' if count == 1 else 'threads'}"


@contextlib.contextmanager
def _stages(*, quiet: bool, said: bool = False) -> Iterator[None]:
    """A context for stages: their progress is shown; what they say, which is for a project, where it is asked for."""
    errors: contextlib.AbstractContextManager[Any] = (
        contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext()
    )
    with contextlib.redirect_stdout(sys.stderr if said and not quiet else io.StringIO()), errors:
        yield


@contextlib.contextmanager
def _resumable(*, quiet: bool) -> Iterator[None]:
    """Say how to go on after an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        notice("stopped; the same command goes on from here", quiet=quiet)
        raise


def _counted(counts: Mapping[str, Any]) -> str:
    most = enumerated(f"{count:,} {name}" for name, count in counts["classes"].items())
    return f"{counts['images']:,} images: {most}"


def _findings(job: Work, counts: Mapping[str, Any]) -> list[str]:
    """What one should know first."""
    from nola_core.files import read_json, read_table
    from nola_core.report.headline import audited
    from nola_core.trust import groups, names, proportions

    metrics = read_json(job.paths["metrics.json"])
    found = ["No label was read, so the accuracy was not measured: look at some predictions before you use them."]
    if metrics.get("audit"):  # of an earlier run into this folder
        found = [audited(metrics)]
    if counts["unreadable"]:
        count = counts["unreadable"]
        found.append(f"{count:,} {'image' if count == 1 else 'images'} could not be read; see the column reason.")
    if said := names.verdict(read_json(job.paths["names.json"])):
        found.append(said)
    if absent := proportions.sentence(read_table(job.paths["class_proportions.parquet"])):
        found.append(absent)
    unnamed = read_table(job.paths["unknown_groups.parquet"])
    if len(unnamed):
        found.append(f"{groups.sentence(unnamed)} The report shows them.")
    return found
