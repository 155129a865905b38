"""`nola audit`: measure the accuracy with a few labels."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import Dataset, Json, Quiet
from flows.commands.output import made, notice, print_json
from flows.commands.place import find_place

if TYPE_CHECKING:
    from nola_core.trust.judging import Judging


def audit(
    dataset: Dataset,
    labels: Annotated[int, typer.Option(metavar="N", help="How many images to judge, with those judged before.")] = 50,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Without a browser: write the images to judge to this CSV file or, if it is there, read the answers back.",
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option("--new", help="Draw another sample, for example after you chose settings by the last audit."),
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address of the page.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the accuracy: judge some images in the browser, get the accuracy with a 95 % interval.

    Fifty images take about five minutes. Every answer is saved at once: Ctrl-C stops, and the same command goes on. No answer is
    used for training; they are in data/DATASET/audit, and `evaluate` alone reads them. A folder that `nola adapt` has written
    can be audited, too.
    """
    place = find_place(dataset)
    from nola_core.datasets.opener import image_opener
    from nola_core.trust.judging import opened

    root, ready = place.root, False
    with opened(root, place.dataset, labels=labels, new=new) as judging:
        _say_first(judging, quiet=quiet)
        if table is not None:
            ready = _by_table(judging, table, image_opener(root, place.dataset), dataset, quiet=quiet)
        elif judging.question is None:
            ready = True
            notice("all of them are judged already; --labels takes a larger number", quiet=quiet)
        else:
            image_of = image_opener(root, place.dataset)
            ready = _by_page(judging, dataset, image_of, browse=not no_browser, to_stderr=as_json, quiet=quiet)
        if ready:
            _print(judging, as_json=as_json)
    if ready and place.output is None:
        notice(f"next: {place.again} puts it into the metrics and the report", quiet=quiet)
    elif ready:
        from flows.commands.delivery import audited

        with contextlib.redirect_stdout(io.StringIO()):
            page = audited(place, lambda text: notice(text, quiet=quiet))
        notice(f"the report has it now: {page}", quiet=quiet)


def _by_page(judging: Judging, dataset: str, image_of: Any, *, browse: bool, to_stderr: bool, quiet: bool) -> bool:
    """Judge in the browser; whether the audit came to its end."""
    from nola_core.trust.page import Page, served

    page = Page(judging, dataset, image_of)
    with served(page) as address:
        try:
            print(address, file=sys.stderr if to_stderr else sys.stdout, flush=True)
            notice("open this page, on this machine; Ctrl-C stops, and every answer is saved", quiet=quiet)
            if browse and _has_browser():
                import webbrowser

                webbrowser.open(address)
            while not page.seen.wait(0.5):
                pass
        except KeyboardInterrupt:
            notice(f"stopped at {judging.judged} of {judging.labels}; nola audit {dataset} goes on", quiet=quiet)
            raise
    return True


def _by_table(judging: Judging, file: Path, image_of: Any, dataset: str, *, quiet: bool) -> bool:
    """Write the table, or read it back; whether all answers are there."""
    from nola_core.trust import sheet

    if not file.exists():
        count = sheet.write(judging, file, image_of)
        notice(
            f"{count} images to judge: fill the column `answer` with a class name, {sheet.NONE} or {sheet.SKIP} "
            "(nobody can say), and run this command again",
            quiet=quiet,
        )
        made(file)
        return False
    count = sheet.read(judging, file)
    notice(f"{count} new {'answer' if count == 1 else 'answers'} from {file}", quiet=quiet)
    if judging.question is not None:
        missing = judging.labels - judging.judged
        waiting = sum(judging.progress.decided(one) is not None for one in judging.progress.order[judging.progress.place :])
        later = f"; {waiting} answers count once those before them are given" if waiting else ""
        notice(f"{judging.judged} of {judging.labels} labels, {missing} are missing{later}", quiet=quiet)
        if not waiting:
            notice("a table with a new name gets the images that are still to judge", quiet=quiet)
        return False
    return True


def _say_first(judging: Judging, *, quiet: bool) -> None:
    progress = judging.progress
    if judging.progress.counted:
        notice(f"{judging.judged} of {judging.labels} labels are there from before", quiet=quiet)
    if progress.newcomers:
        notice(
            f"{progress.newcomers:,} images came after the sample was drawn: the figure is about the other "
            f"{len(progress.order):,}. --new draws from all of them",
            quiet=quiet,
        )


def _print(judging: Judging, *, as_json: bool) -> None:
    """The figure, as the last line."""
    found = judging.estimate
    figures = {"accuracy": found.accuracy, "low": found.low, "high": found.high} if found else None
    if as_json:
        print_json({"method": judging.method, "labels": judging.judged, "skipped": judging.skipped, **(figures or {})})
    elif found is None:
        print(f"{judging.judged} labels are too few for an interval")
    else:
        skipped = f"; {judging.skipped} more could not be judged" if judging.skipped else ""
        print(
            f"accuracy {found.accuracy:.1%}, 95 % interval {found.low:.1%} to {found.high:.1%}, "
            f"measured on {found.labels} images{skipped}"
        )


def _has_browser() -> bool:
    """Whether there is a screen; a text browser would take the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
