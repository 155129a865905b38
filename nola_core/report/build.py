"""Draws the pictures of a data set and writes the page around them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from nola_core import files
from nola_core.description_quality import findings
from nola_core.errors import NolaError
from nola_core.features import FeatureStore
from nola_core.report import (
    advice,
    class_story,
    expenses,
    explanations,
    feature_map,
    figures,
    gallery,
    headline,
    provenance,
    samples,
    scores,
    sources,
    unnamed,
)
from nola_core.report.album import ROOM, Album
from nola_core.report.notices import listed, notices
from nola_core.report.style import inlined, percent, probability, save
from nola_core.report.tables import Tables, interval_of, load

PAGE = Path(__file__).parent / "page"
PAGE_BYTES = 10_000_000
"""The page is never larger, so that it fits a mail."""
OWN = ("accuracy", "class_counts")
"""Plots that the page draws itself, as bars that fit a phone."""


@dataclass(frozen=True)
class Run:
    """What the page tells of the run itself.

    Attributes:
        dataset: its name, the title of the page.
        settings: all parameters, `report.images_per_class` among them; shown in full.
        overrides: `key=value` sentences, what differs from the preset.
        templates: sentences with `{}` for the class name.
        seconds: address of a stage -> how long its last run took on this machine.
        project: whether it stands in a project, where `nola audit` and the like work.
    """

    dataset: str
    settings: Mapping[str, Any]
    overrides: Sequence[str] = ()
    templates: Sequence[str] = ()
    seconds: Mapping[str, float] | None = None
    project: bool = True


def build(run: Run, *, folder: Path, image_of: Callable[[str], Image.Image], output: Path, figures_folder: Path) -> None:
    """Write the report of one data set: one HTML file without any outside reference, and its plots as PNG files.

    Args:
        run: what the page tells of the run itself.
        folder: `data/<dataset>`; `tables.load` says what is read from it.
        image_of: image id -> the image, for the small pictures.
        output: the HTML file.
        figures_folder: replaced as a whole.

    Raises:
        NolaError: a file of `folder` is absent or damaged.
    """
    tables = load(folder)
    judged = samples.judged(tables.pseudo_labels, tables.truth)
    album = Album(image_of)
    with files.replacing(figures_folder) as scratch:
        scratch.mkdir()
        plots = {}
        for name, figure in draw(tables, judged, int(run.settings["evaluate"]["calibration_bins"])).items():
            save(figure, scratch / f"{name}.png")
            if name not in OWN:
                figure.set_layout_engine("none")  # everything has its place already, and finding it takes longest
                plots[name] = inlined(figure, name)
        shown = {**_content(run, tables, folder, judged, scratch), "plots": plots}
        page = _fitted(shown, album)
    with files.replacing(output) as scratch:
        scratch.write_bytes(page)


def draw(tables: Tables, judged: pd.DataFrame, bins: int) -> dict[str, Figure]:
    """The plots that the data allow: name -> figure. Those that need ground truth are left out where there is none."""
    drawn: dict[str, Figure] = {}
    measured, looks = tables.metrics["methods"], tables.looks
    pair = list(dict.fromkeys([tables.baseline, tables.final]))
    if measured:
        labelled = tables.metrics["labelled"]
        top1 = {method: measured[method]["top1"] for method in tables.methods}
        intervals = {method: interval_of(tables, method) for method in top1}
        counts = figures.confusion_counts(tables.confusion, tables.names)
        drawn["accuracy"] = figures.accuracy(top1, intervals, labelled, looks=looks, final=tables.final)
        drawn["confusion"] = figures.confusion(counts, tables.names, tables.title(tables.final))
        errors = {method: measured[method]["ece"] for method in tables.compared}
        drawn["reliability"] = figures.reliability(tables.reliability, errors, bins, looks=looks)
        if len(pair) == 2:
            drawn["class_change"] = figures.class_change(tables.per_class, *pair, looks=looks)
    else:
        drawn["class_counts"] = figures.class_counts(tables.per_class, pair, looks=looks)
    if len(tables.curve):
        drawn["tuning"] = figures.tuning(tables.curve, looks=looks)
    if len(judged):
        drawn["confidence"] = figures.confidence(judged)
    return drawn


@cache
def _template() -> jinja2.Template:
    """The page's, compiled once a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _fitted(content: Mapping[str, Any], album: Album) -> bytes:
    """The page with as many pictures as there is room for.

    Raises:
        NolaError: its texts alone are larger.
    """
    template, room = _template(), ROOM
    while True:
        album.restart(room)
        page = template.render(**content, album=album).encode()
        if len(page) <= PAGE_BYTES:
            return page
        if not album.spent:
            raise NolaError(
                f"the report would be {len(page) / 1e6:.0f} MB without any picture; report this with your class list."
            )
        room = max(0, album.spent - (len(page) - PAGE_BYTES))


def _content(run: Run, tables: Tables, folder: Path, judged: pd.DataFrame, pictures: Path) -> dict[str, Any]:
    """Everything the templates show but pictures and plots."""
    settings, roles, images = run.settings, tables.in_force, int(run.settings["report"]["images_per_class"])
    unknown = unnamed.read(folder, tables.names)
    rows = class_story.rows(tables, files.read_table(folder / "class_proportions.parquet"))
    store = FeatureStore.open(folder / "features" / "ssl" / tables.metrics["split"])
    drawn = feature_map.draw(tables, store, pictures)
    unreadable, unreadable_count = sources.unreadable_rows(tables)
    renamed = sources.renamed_classes(tables)
    times = expenses.times(run.seconds or {}, run.dataset)
    return {
        "dataset": run.dataset,
        "metrics": tables.metrics,
        "percent": percent,
        "probability": probability,
        # the top
        "verdict": headline.verdict(tables),
        "done": headline.done(tables, settings.get("preset"), len(run.overrides)),
        "facts": headline.facts(tables),
        "result": headline.result(tables),
        "signs": headline.signs(tables),
        "notices": notices(tables) + unnamed.notices(unknown),
        "steps": advice.steps(tables, groups=unknown.count, absent=bool(unknown.absent), project=run.project),
        # pictures
        "confident": gallery.confident(tables),
        "doubtful": gallery.doubtful(tables),
        "disagreements": gallery.disagreements(tables),
        "unknown": unknown,
        # classes
        "class_count": len(tables.names),
        "classes": rows[: class_story.ROWS],
        "stories": class_story.stories(tables, folder, rows, images=images),
        "map": drawn,
        "map_pictures": {} if drawn is None else {name: _png(file) for name, file in _files(drawn).items()},
        # methods
        "methods": scores.method_rows(tables),
        "bars": scores.bars(tables),
        "ranked": scores.ranked(tables),
        "colours": {method: look.colour for method, look in tables.looks.items()},
        "final": tables.final,
        "final_title": tables.title(tables.final),
        "rival_title": tables.title(tables.rival) if tables.rival else None,
        "baseline_title": tables.title(tables.baseline) if tables.baseline != tables.final else None,
        "text_title": tables.title(roles.text_classifier),
        "teacher_title": tables.title(roles.teacher),
        "students": listed([tables.title(student) for student in tables.students]),
        "student_count": len(tables.students),
        "all_compared": len(tables.compared) == len(tables.methods),
        "probe": tables.metrics["probes"].get("ssl_knn"),
        "pairs": scores.confused_pairs(tables),
        "warnings": list(tables.warnings().values()),
        "guarded": _guarded(tables),
        # pseudo-labels
        "samples": samples.chosen(judged, tables.names, images),
        "explained": explanations.explain(folder, tables),
        "reasons": _reasons(tables.pseudo_labels),
        # data
        "splits": sources.split_rows(tables),
        "accuracies": scores.accuracy_rows(tables),
        "unreadable": unreadable,
        "unreadable_count": unreadable_count,
        "duplicates": sources.duplicate_rows(tables),
        "duplicate_count": len(tables.near_duplicates),
        "duplicates_note": tables.duplicates_note,
        "leaked": sources.leaked_images(tables.near_duplicates, tables.metrics["split"]),
        "renamed": renamed[: sources.LISTED],
        "renamed_count": len(renamed),
        "findings": findings(tables.quality),
        "descriptions": sources.description_rows(tables.descriptions),
        "why_undescribed": sources.why_undescribed(settings["describe"], run.dataset, project=run.project),
        "described_count": int(tables.descriptions["class_id"].nunique()),
        "described_by": sources.described_by(tables.descriptions),
        # how it was made
        "times": times,
        "total": expenses.total(times),
        "machine": expenses.machine(),
        "cost": expenses.cost(folder),
        "models": provenance.model_rows(tables),
        "parameters": provenance.parameter_rows(settings),
        "preset": settings.get("preset"),
        "seed": settings.get("seed"),
        "overrides": list(run.overrides),
        "templates": [provenance.plain(template) for template in run.templates],
        "commands": provenance.commands(run.dataset, tables.names, settings, run.templates, project=run.project),
        "packages": provenance.packages(),
    }


def _guarded(tables: Tables) -> str:
    """The students that the guard held against their teacher."""
    scored = tables.label_free()
    return listed([tables.title(one) for one in tables.students if {one, tables.in_force.teacher} <= set(scored)])


def _files(drawn: feature_map.FeatureMap) -> dict[str, Path]:
    return {name: file for name, file in (("before", drawn.before), ("after", drawn.after)) if file is not None}


def _png(file: Path) -> Markup:
    """The address of a picture that is in itself."""
    return Markup("data:image/png;base64,{}").format(b64encode(file.read_bytes()).decode("ascii"))


def _reasons(pseudo_labels: pd.DataFrame) -> list[tuple[str, int]]:
    """(why, candidates), the largest counts first."""
    counts = pseudo_labels["why"].value_counts().head(sources.LISTED)
    return list(zip(counts.index, counts, strict=True))
