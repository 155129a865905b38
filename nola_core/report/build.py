"""Draws the pictures of a data set and writes the page around them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from nola_core import files
from nola_core.description_quality import findings
from nola_core.report import content, explanations, figures, samples, unnamed
from nola_core.report.style import percent, save
from nola_core.report.tables import Tables, interval_of, load

DESCRIBED_CLASSES = 60
"""The page quotes the descriptions of at most this many classes; all are in descriptions.parquet."""
LISTED_ROWS = 50
"""Unreadable files and near duplicates are listed up to this many, and counted in full."""


def build(
    *,
    dataset: str,
    folder: Path,
    settings_dict: Mapping[str, Any],
    overrides: Sequence[str],
    image_of: Callable[[str], Image.Image],
    output: Path,
    figures_folder: Path,
) -> None:
    """Write the report of one data set: one HTML file without any outside reference, and its pictures as PNG files.

    Args:
        dataset: its name, the title of the page.
        folder: `data/<dataset>`; `tables.load` says what is read from it.
        settings_dict: all parameters, `report.images_per_class` among them; shown in full.
        overrides: `key=value` sentences, what differs from the preset.
        image_of: image id -> the image, for the samples.
        output: the HTML file.
        figures_folder: replaced as a whole.

    Raises:
        NolaError: a file of `folder` is absent or damaged.
    """
    tables = load(folder)
    judged = samples.judged(tables.pseudo_labels, tables.truth)
    with files.replacing(figures_folder) as scratch:
        scratch.mkdir()
        for name, figure in draw(tables, judged, int(settings_dict["evaluate"]["calibration_bins"])).items():
            save(figure, scratch / f"{name}.png")
        sheets = samples.draw(judged, tables.names, image_of, int(settings_dict["report"]["images_per_class"]), scratch)
        reasons = explanations.explain(
            folder,
            split=tables.metrics["split"],
            method=tables.final,
            names=tables.names,
            image_of=image_of,
            pictures=scratch,
        )
        unknown = unnamed.draw(folder, tables.names, image_of, scratch)
        page = _render(dataset, tables, settings_dict, overrides, scratch, sheets, reasons, unknown)
    with files.replacing(output) as scratch:
        scratch.write_text(page, encoding="utf-8")


def draw(tables: Tables, judged: pd.DataFrame, bins: int) -> dict[str, Figure]:
    """The plots that the data allow: name -> figure. Those that need ground truth are left out where there is none."""
    drawn: dict[str, Figure] = {}
    scores, looks = tables.metrics["methods"], tables.looks
    pair = list(dict.fromkeys([tables.baseline, tables.final]))
    if scores:
        labelled = tables.metrics["labelled"]
        top1 = {method: scores[method]["top1"] for method in tables.methods}
        intervals = {method: interval_of(tables, method) for method in top1}
        counts = figures.confusion_counts(tables.confusion, tables.names)
        drawn["accuracy"] = figures.accuracy(top1, intervals, labelled, looks=looks, final=tables.final)
        drawn["confusion"] = figures.confusion(counts, tables.names, tables.title(tables.final))
        errors = {method: scores[method]["ece"] for method in tables.compared}
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


def _render(
    dataset: str,
    tables: Tables,
    settings: Mapping[str, Any],
    overrides: Sequence[str],
    pictures: Path,
    sheets: Sequence[samples.ClassSample],
    explained: Sequence[explanations.Explanation],
    unknown: unnamed.Unnamed,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def picture(name: str, alt: str) -> Markup:
        file = pictures / f"{name}.png"
        return _inlined(file, alt) if file.is_file() else Markup("")

    unreadable = tables.manifest[~tables.manifest["ok"].astype(bool)]
    scored, roles = tables.label_free(), tables.in_force
    return environment.get_template("template.html").render(
        dataset=dataset,
        metrics=tables.metrics,
        headline=content.headline(tables),
        notices=content.notices(tables) + unnamed.notices(unknown),
        unknown=unknown,
        unknown_sheets=[(one, _inlined(one.file, f"Sample images of {one.title}")) for one in unknown.groups],
        highest=_inlined(unknown.highest, "Images with the highest unknown scores") if unknown.highest else None,
        methods=content.method_rows(tables),
        ranked=content.ranked(tables),
        colours={method: look.colour for method, look in tables.looks.items()},
        final=tables.final,
        final_title=tables.title(tables.final),
        baseline_title=tables.title(tables.baseline) if tables.baseline != tables.final else None,
        text_title=tables.title(roles.text_classifier),
        teacher_title=tables.title(roles.teacher),
        students=content.listed([tables.title(student) for student in tables.students]),
        student_count=len(tables.students),
        all_compared=len(tables.compared) == len(tables.methods),
        probe=tables.metrics["probes"].get("ssl_knn"),
        splits=content.split_rows(tables),
        accuracies=content.accuracy_rows(tables),
        classes=content.class_rows(tables),
        pairs=content.confused_pairs(tables),
        picture=picture,
        percent=percent,
        sheets=[(sheet, _inlined(sheet.file, f"Sample images pseudo-labelled {sheet.name}")) for sheet in sheets],
        explained=[(one, _inlined(one.file, f"Image {one.image_id}")) for one in explained],
        class_count=len(tables.names),
        reasons=_reasons(tables.pseudo_labels),
        unreadable=unreadable.head(LISTED_ROWS).to_dict("records"),
        unreadable_count=len(unreadable),
        duplicates=tables.near_duplicates.sort_values("similarity", ascending=False, kind="stable")
        .head(LISTED_ROWS)
        .to_dict("records"),
        duplicate_count=len(tables.near_duplicates),
        duplicates_note=tables.duplicates_note,
        leaked=content.leaked_images(tables.near_duplicates, tables.metrics["split"]),
        renamed=content.renamed_classes(tables),
        findings=findings(tables.quality),
        descriptions=_descriptions(tables.descriptions),
        why_undescribed=content.why_undescribed(settings["describe"], dataset),
        described_count=int(tables.descriptions["class_id"].nunique()),
        sources=_sources(tables.descriptions),
        models=content.model_rows(tables),
        parameters=content.parameter_rows(settings),
        preset=settings.get("preset"),
        overrides=list(overrides),
        warnings=list(tables.warnings().values()),
        guarded=content.listed([tables.title(one) for one in tables.students if {one, roles.teacher} <= set(scored)]),
    )


def _inlined(file: Path, alt: str) -> Markup:
    """An `<img>` that carries the picture in itself."""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    with Image.open(file) as image:
        width, height = image.size
    return Markup('<img alt="{}" width="{}" height="{}" src="data:image/png;base64,{}">').format(alt, width, height, data)


def _reasons(pseudo_labels: pd.DataFrame) -> list[tuple[str, int]]:
    """(why, candidates), the largest counts first."""
    counts = pseudo_labels["why"].value_counts().head(LISTED_ROWS)
    return list(zip(counts.index, counts, strict=True))


def _sources(descriptions: pd.DataFrame) -> list[str]:
    """`provider (model)` of every origin of the texts, most frequent first."""
    names = [
        f"{provider} ({model})" if model else provider
        for provider, model in zip(descriptions["provider"], descriptions["model"], strict=True)
    ]
    return [name for name, _ in Counter(names).most_common()]


def _descriptions(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """(class, texts) of the first classes."""
    groups = table.groupby("class_id", sort=True)
    return [(str(rows["class"].iloc[0]), list(rows["text"])) for _, rows in list(groups)[:DESCRIBED_CLASSES]]
