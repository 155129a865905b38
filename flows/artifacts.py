"""What is worth seeing of a finished data set, as tables, text and pictures under stable keys."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from flows.artifact_key import PICTURES, artifact_key
from nola_core.corrections import sentence
from nola_core.errors import NolaError
from nola_core.evaluation import read_metrics
from nola_core.files import read_json, read_table
from nola_core.methods.method import InForce
from nola_core.report.headline import audited
from nola_core.text import as_written, markdown_safe
from nola_core.trust.names import verdict

MAX_ROWS = 200
MAX_PICTURE_BYTES = 220_000  # a third more once it is base64


@dataclass(frozen=True)
class Artifact:
    """Content as Prefect stores it: `type` is `table` (data: JSON) or `markdown`."""

    key: str
    type: str
    data: str
    description: str


def dataset_artifacts(root: Path, dataset: str) -> Iterator[Artifact]:
    """The artifacts of one finished data set, read from `data/<dataset>/`.

    Raises:
        NolaError: a file is missing or cannot be read.
    """
    folder = root / "data" / dataset
    metrics, in_force = read_metrics(folder / "metrics.json")
    report = folder / "report.html"
    if not report.is_file():
        raise NolaError(f"{report} does not exist: run `report`.")
    split = metrics["split"]
    about = f"{metrics['images']:,} images of the {split} split, {metrics['classes']} classes ({metrics['protocol']})"
    if metrics.get("corrections"):
        about += f". {sentence(metrics['corrections'])}"
    if metrics["methods"]:
        gain = f"Gain: points of top-1 accuracy over the baseline, {in_force[in_force.baseline].title}."
        yield _table(dataset, "metrics", metrics_rows(metrics["methods"], in_force), f"{dataset}: {about}. {gain}")
        yield _per_class(folder / "per_class.csv", dataset, split, in_force)
    else:
        rows = _label_free_rows(read_json(folder / "label_free.json"), in_force)
        yield _table(dataset, "label_free", rows, f"{dataset}: signals that need no labels. None is an accuracy.")
    yield _pseudo_labels(folder, dataset)
    yield Artifact(
        artifact_key(dataset, "summary"), "markdown", summary(root, dataset, about), f"{dataset}: result and next steps"
    )


def summary(root: Path, dataset: str, about: str) -> str:
    """What came out, the picture of it, where the report is and what to do next, as markdown.

    Args:
        about: the images, classes and protocol in a line.
    """
    folder = root / "data" / dataset
    metrics, in_force = read_metrics(folder / "metrics.json")
    final = in_force[in_force.final].title
    lines = [f"# {markdown_safe(dataset)}", "", about, ""]
    told = verdict(read_json(folder / "names.json"))
    if told:
        lines += [f"**{markdown_safe(told)}**", ""]
    if metrics["methods"]:
        after, before = (_percent(metrics["methods"][one]["top1"]) for one in (in_force.final, in_force.baseline))
        baseline = markdown_safe(in_force[in_force.baseline].title)
        lines += [f"**{markdown_safe(final)} classifies {after} correctly**; the baseline, {baseline}, {before}.", ""]
    if not metrics["methods"] or metrics.get("audit"):
        lines += [markdown_safe(audited(metrics)), ""]
    picture = next((file for name in PICTURES if (file := folder / "figures" / f"{name}.png").is_file()), None)
    if picture:
        # An `image` artifact would print the whole address below the picture.
        lines += [f"![{picture.stem.replace('_', ' ')}]({_data_uri(picture)})", ""]
    lines += [
        f"- Report, to open in a browser: `{folder / 'report.html'}`",
        f"- Images on a map: `nola explore {dataset}`",
        f"- Accuracy from fifty images that you judge: `nola audit {dataset}`",
        f"- Predictions as a table: `nola export {dataset} --to csv -o {dataset}.csv`",
    ]
    return "\n".join(lines) + "\n"


def metrics_rows(scores: dict[str, dict[str, float]], in_force: InForce) -> list[dict[str, str]]:
    """One row a method, in order and in percent; the gain is over the baseline."""
    base = scores[in_force.baseline]["top1"]
    return [
        {
            "method": one.title,
            "top-1": _percent(scores[one.name]["top1"]),
            "gain": f"{100 * (scores[one.name]['top1'] - base):+.1f}",
            "top-5": _percent(scores[one.name]["top5"]),
            "mean per class": _percent(scores[one.name]["mean_per_class"]),
            "ECE": _percent(scores[one.name]["ece"]),
        }
        for one in in_force.methods
    ]


def sample_pseudo_labels(table: pd.DataFrame, limit: int = MAX_ROWS) -> pd.DataFrame:
    """At most `limit` candidates, equally many of each class: the selected ones first, then by rank."""
    ordered = table.sort_values(["selected", "rank", "class_id"], ascending=[False, True, True], kind="stable")
    turn = ordered.groupby("class_id").cumcount()
    return ordered.loc[turn.sort_values(kind="stable").index[:limit]].sort_values(
        ["selected", "class_id", "rank"], ascending=[False, True, True], kind="stable"
    )


def _pseudo_labels(folder: Path, dataset: str) -> Artifact:
    table = read_table(folder / "pseudo_labels.parquet")
    classes = read_table(folder / "classes.parquet", ["class_id", "name"])
    names = dict(zip(classes["class_id"], classes["name"], strict=True))
    rows = [
        {
            "class": names[row["class_id"]],
            "image": row["image_id"],
            "confidence": f"{row['confidence']:.3f}",
            "margin": f"{row['margin']:.3f}",
            "rank": int(row["rank"]),
            "selected": "yes" if row["selected"] else "no",
            "why": row["why"],
        }
        for row in sample_pseudo_labels(table).to_dict("records")
    ]
    counts = f"{int(table['selected'].sum())} of {len(table)} candidates selected"
    about = f"{dataset}: {counts}; {len(rows)} shown, evenly over the classes."
    return _table(dataset, "pseudo_labels", rows, about)


def _per_class(path: Path, dataset: str, split: str, in_force: InForce) -> Artifact:
    """One row a class: images and the accuracy of each method, lowest accuracy of the final method first."""
    table = _read_csv(path)
    table = table[table["split"] == split]
    wide = table.pivot(index="class_id", columns="method", values="accuracy").sort_values(in_force.final, kind="stable")
    classes = {row["class_id"]: row for row in table.to_dict("records")}
    rows = [
        {"class": classes[class_id]["class"], "images": int(classes[class_id]["images"])}
        | {one.title: _percent(accuracy[one.name]) for one in in_force.methods}
        for class_id, accuracy in wide.head(MAX_ROWS).to_dict("index").items()
    ]
    order = f"lowest accuracy of {in_force[in_force.final].title} first"
    note = f"{dataset}: accuracy of each class on the {split} split, {order}"
    return _table(dataset, "per_class", rows, f"{note}; {len(rows)} of {len(wide)} classes.")


def _label_free_rows(scores: dict[str, dict[str, dict[str, float]]], in_force: InForce) -> list[dict[str, Any]]:
    return [
        {"split": split, "method": one.title}
        | {
            name.replace("_", " "): value if isinstance(value, int) else f"{value:.4f}"
            for name, value in methods[one.name].items()
        }
        for split, methods in scores.items()
        for one in in_force.methods
        if one.name in methods
    ]


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return as_written(pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values={"accuracy": [""]}))
    except FileNotFoundError:
        raise NolaError(f"{path} does not exist: run `evaluate`.") from None


def _table(dataset: str, kind: str, rows: list[dict[str, Any]], description: str) -> Artifact:
    return Artifact(artifact_key(dataset, kind), "table", json.dumps(rows, ensure_ascii=False), description)


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f} %"


def _data_uri(path: Path) -> str:
    """The picture as an address that needs no server; shrunk until it is small enough for the interface."""
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    while len(data) > MAX_PICTURE_BYTES:
        picture = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.quantize(256).save(buffer, "PNG", optimize=True)
        data = buffer.getvalue()
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
