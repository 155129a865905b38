"""The three results of `nola adapt`: the table, the model and the report, copied from its working folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.commands.place import Place
    from nola_core.adaptation import Work

TABLE, MODEL, PAGE = "predictions.csv", "model", "report.html"


def deliver(job: Work, output: Path) -> dict[str, Any]:
    """Write the three results; returns `images`, `unreadable` and the images of each class."""
    from nola_core.files import replacing
    from nola_core.sinks import opened

    table = job.predictions({})
    with opened(output / TABLE) as write:
        write(table)
    with replacing(output / MODEL) as scratch:
        shutil.copytree(job.paths["model"], scratch)
    with replacing(output / PAGE) as scratch:
        shutil.copyfile(job.paths["report.html"], scratch)
    classes = {str(name): int(count) for name, count in table["class"].value_counts().items()}
    return {"images": len(table), "unreadable": int(table["reason"].notna().sum()), "classes": classes}


def audited(place: Place, say: Callable[[str], None]) -> Path:
    """Put what an audit measured into the report of a folder that `nola adapt` has written; returns the report.

    Args:
        say: called with a message where it waits for another run.
    """
    from flows.locking import run_lock
    from nola_core import inputs
    from nola_core.adaptation import Work

    assert place.output is not None
    job = Work(place.root.resolve(), place.dataset)
    with run_lock(job.root, say):
        inputs.write(job.root)
        for stage in ("evaluate", "report"):
            job.run(stage)
        deliver(job, place.output)
    return place.output / PAGE
