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

from flows.artifact_key import artifact_key
from nola_core.errors import NolaError
from nola_core.files import read_json, read_table
from nola_core.text import as_written

MAX_ROWS = 200
MAX_PICTURE_BYTES = 220_000  # a third more once it is base64
FINAL_METHOD = "nola"


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
    metrics = read_json(folder / "metrics.json")
    report = folder / "report.html"
    if not report.is_file():
        raise NolaError(f"{report} does not exist: run `report`.")
    split = metrics["split"]
    counts = f"{metrics['images']} images of the {split} split, {metrics['classes']} classes"
    about = f"{dataset}: {counts} ({metrics['protocol']})"
    if metrics["methods"]:
        yield _table(dataset, "metrics", metrics_rows(metrics), f"{about}. Gain: points of top-1 over zero-shot.")
    scores = read_json(folder / "label_free.json")
    yield _table(dataset, "label_free", _label_free_rows(scores), f"{dataset}: scores that read no label.")
    yield _pseudo_labels(folder, dataset)
    if metrics["methods"]:
        yield _per_class(folder / "per_class.csv", dataset, split)
    for picture in sorted((folder / "figures").glob("*.png")):
        title = picture.stem.replace("_", " ")
        # An `image` artifact would print the whole address below the picture.
        shown = f"![{title}]({_data_uri(picture)})"
        yield Artifact(artifact_key(dataset, f"figure_{picture.stem}"), "markdown", shown, f"{dataset}: {title}")
    text = f"# {dataset}\n\n{about}\n\nOpen the report in a browser: `{report}`\n"
    yield Artifact(artifact_key(dataset, "report"), "markdown", text, f"{dataset}: where the report is")


def metrics_rows(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """One row a method of `metrics.json`, in per cent; the gain is over zero-shot."""
    methods: dict[str, dict[str, float]] = metrics["methods"]
    base = methods.get("zero_shot", {}).get("top1")
    return [
        {
            "method": method.replace("_", "-"),
            "top-1": _percent(scores.get("top1")),
            "gain": "" if base is None or "top1" not in scores else f"{100 * (scores['top1'] - base):+.1f}",
            "top-5": _percent(scores.get("top5")),
            "mean per class": _percent(scores.get("mean_per_class")),
            "ECE": _percent(scores.get("ece")),
        }
        for method, scores in methods.items()
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


def _per_class(path: Path, dataset: str, split: str) -> Artifact:
    """One row a class: images and the accuracy of each method, hardest class of the final method first."""
    table = _read_csv(path)
    table = table[table["split"] == split]
    methods = list(dict.fromkeys(table["method"]))
    final = FINAL_METHOD if FINAL_METHOD in methods else methods[-1]
    wide = table.pivot(index="class_id", columns="method", values="accuracy").sort_values(final, kind="stable")
    classes = {row["class_id"]: row for row in table.to_dict("records")}
    rows = [
        {"class": classes[class_id]["class"], "images": int(classes[class_id]["images"])}
        | {method.replace("_", "-"): _percent(accuracy[method]) for method in methods}
        for class_id, accuracy in wide.head(MAX_ROWS).to_dict("index").items()
    ]
    note = f"{dataset}: accuracy of each class on the {split} split, hardest first for {final.replace('_', '-')}"
    return _table(dataset, "per_class", rows, f"{note}; {len(rows)} of {len(wide)} classes.")


def _label_free_rows(scores: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    return [
        {"split": split, "method": method.replace("_", "-")}
        | {name.replace("_", " "): value if isinstance(value, int) else f"{value:.4f}" for name, value in values.items()}
        for split, methods in scores.items()
        for method, values in methods.items()
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
