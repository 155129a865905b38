"""The stages that need no images, on synthetic features: the mode `--made` of benchmarks.scale.

`predict` needs images only for the tuned student. Here it runs without one (`python -m benchmarks.scale_made ROOT`): it does
everything the stage does with features, and uses another text classifier instead of the student.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import FuncFormatter
from torch.nn.functional import normalize

from benchmarks.made import CLIP_DIM, DATASET, SSL_DIM, make
from benchmarks.watch import watch
from nola_core import inputs
from nola_core.classifier import Classifier
from nola_core.config import load
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, replacing, table_writer, write_json
from nola_core.methods import registry, storage
from nola_core.methods.method import Fitted, FittedMethod, TextMethod
from nola_core.report.style import new_figure, save, styled
from nola_core.stages.paths import Paths
from nola_core.stages.predict import Answers, write_findings
from nola_core.text_classifier import TextClassifier

STAGES = ("duplicates", "classify", "select", "fit", "predict", "evaluate", "report")
COLUMNS = ["rows", "classes", "stage", "seconds", "cpu_seconds", "peak_mb", "load"]
NAME = "scale-made"


def run(sizes: Sequence[int], classes: int, *, stages: Sequence[str], results: Path, folder: Path | None) -> None:
    """Make a collection of each size, run the stages on it and write the results after each.

    Args:
        sizes: numbers of images.
        classes: number of classes in each collection.
        stages: the stages from `STAGES` to run; each needs the ones before it.
        results: folder of scale-made.csv, .md and .png.
        folder: where collections are created and reused by a later run; None for a temporary folder.
    """
    for rows in sizes:
        with ExitStack() as stack:
            root = folder / str(rows) if folder else Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if not (root / "params.yaml").is_file():
                print(f"making {rows:,} images of {classes:,} classes", flush=True)
                make(root, rows, classes)
            inputs.write(root)
            for stage in (stage for stage in STAGES if stage in stages):
                print(f"{stage}, {rows:,} images", flush=True)
                words = ["-m", "nola_core.stages", stage, "--dataset", DATASET, "--root", str(root)]
                needed = watch(["-m", "benchmarks.scale_made", str(root)] if stage == "predict" else words, root=root)
                row = [rows, classes, stage, needed.seconds, needed.cpu_seconds, needed.peak_mb, needed.load]
                write(dict(zip(COLUMNS, row, strict=True)), results)
            if "report" in stages:
                size = (root / "data" / DATASET / "report.html").stat().st_size
                print(f"report.html at {rows:,} images: {size / 1e6:.1f} MB", flush=True)


def predict_without_images(root: Path) -> None:
    """predictions.parquet and label_free.json of every method in force; in the place of a student, one more text classifier."""
    paths = Paths(root, DATASET)
    names = read_table(paths["classes.parquet"])["name"].tolist()
    roles = ("clip", "ssl")
    stores = {split: {role: FeatureStore.open(paths.store(role, split)) for role in roles} for split in paths.splits("clip")}
    with table_writer(paths["predictions.parquet"], PREDICTION_SCHEMA) as write_rows:
        answers = Answers(write_rows)
        for name in load(root).methods:
            classifier = Classifier(about={"method": name}, class_names=names, fitted=_fitted(paths, name), encoders={})
            for split, both in stores.items():
                answers.from_features(classifier, split, both)
                answers.flush()
    write_json(paths["label_free.json"], answers.label_free(stores))
    write_findings(paths, inputs.read(root, DATASET, "predict"), stores, names)


def _fitted(paths: Paths, name: str) -> Fitted:
    """A fitted method; of a student, the sum of two text classifiers."""
    method = registry.find(name, paths.root)
    if isinstance(method, FittedMethod):
        kind = "text" if isinstance(method, TextMethod) else "features"
        return storage.read_fitted(paths["fitted"] / kind / f"{name}.safetensors", method)
    cde, templates = (_fitted(paths, text).tensors() for text in ("cde", "templates"))
    return TextClassifier(normalize(cde["weights"] + templates["weights"], dim=-1), float(cde["logit_scale"]))


def write(row: dict[str, Any], folder: Path) -> None:
    """Add a measurement to the results; an earlier one of the same stage and size is replaced."""
    path = folder / f"{NAME}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame([row], columns=COLUMNS)
    if path.is_file():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(["rows", "classes", "stage"], keep="last")
    table["order"] = table["stage"].map(STAGES.index)
    table = table.sort_values(["rows", "order"]).drop(columns="order")
    with replacing(path) as scratch:
        table.to_csv(scratch, index=False)
    with replacing(folder / f"{NAME}.md") as scratch:
        scratch.write_text(page(table))
    draw(table, folder / f"{NAME}.png")


def page(table: pd.DataFrame) -> str:
    """scale-made.md."""
    sums = table.groupby(["rows", "classes"], as_index=False).agg(
        stages=("stage", "count"), seconds=("seconds", "sum"), cpu_seconds=("cpu_seconds", "sum"), peak_mb=("peak_mb", "max")
    )
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "pyarrow", "numpy"))
    sizes = " ".join(str(rows) for rows in sorted(set(table["rows"])))
    classes = " ".join(str(count) for count in sorted(set(table["classes"])))
    environ = " ".join(f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ)
    return "\n".join(
        [
            "# Scale: the stages that need no images",
            "",
            f"    {environ} python -m benchmarks.scale --made {sizes} --classes {classes}",
            "",
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}.",
            "",
            f"Synthetic float16 features, {CLIP_DIM} wide for CLIP and {SSL_DIM} for SSL; a tenth of the images is held out",
            "(benchmarks/made.py).",
            "Every stage is the real one in its own process, with the parameters of the preset `paper`. Two parts are replaced:",
            "`classify` uses a CLIP with random weights and a tiny text tower, and `predict` uses another text classifier",
            "instead of",
            "the tuned student, which is the only method that needs images. `seconds` is wall-clock time, `cpu_seconds` the",
            "time of",
            "all threads, `peak_mb` the largest resident memory including mapped files. `load` is the load average at the end.",
            "If it",
            "is above the number of cores, other programs were running and `seconds` is too high.",
            "",
            *_rows(sums),
            "",
            f"![Seconds of each stage by images]({NAME}.png)",
            "",
            *_rows(table),
            "",
        ]
    )


def _rows(table: pd.DataFrame) -> list[str]:
    shown = [[f"{value:,.0f}" if column != "load" and not isinstance(value, str) else str(value) for column, value in
              zip(table.columns, row, strict=True)] for row in table.itertuples(index=False)]  # fmt: skip
    head = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return head + ["| " + " | ".join(row) + " |" for row in shown]


def draw(table: pd.DataFrame, path: Path) -> None:
    """CPU seconds of each stage against the number of images, on log scales; the dashed line shows linear growth."""
    with styled():
        figure = new_figure(5.6, 3.6)
        axes = figure.subplots()
        for stage, mine in table.groupby("stage", sort=False):
            axes.plot(mine["rows"], mine["cpu_seconds"], marker="o", markersize=4, linewidth=1.6, label=str(stage))
        low, high = float(table["rows"].min()), float(table["rows"].max())
        axes.plot(
            [low, high], [high / 1000 * low / high, high / 1000], color="#6B7280", linestyle="--", linewidth=1, label="linear"
        )
        axes.set(xscale="log", yscale="log", xlabel="images", ylabel="CPU seconds")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid()
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        axes.set_title("Stages that need no images")
        save(figure, path)


if __name__ == "__main__":
    predict_without_images(Path(sys.argv[1]))
