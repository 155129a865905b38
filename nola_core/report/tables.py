"""What the report reads: the files of a data set, and what is counted from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nola_core import files
from nola_core.errors import NolaError
from nola_core.evaluation import check_labels, read_metrics, truth_of
from nola_core.methods.method import InForce
from nola_core.prediction import Predictions, matrix
from nola_core.report.intervals import Gain, accuracy_interval, paired_gain
from nola_core.report.style import Look, looks
from nola_core.text import as_written


@dataclass(frozen=True)
class Top:
    """The most probable classes that one method gives the images of the reported split, in the order of `Tables.answers`.

    Attributes:
        classes: int32 [n, t], best first; t is at most 5.
        probabilities: float32 [n, t].
    """

    classes: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Tables:
    """Everything the report reads; columns as in docs/formats.md."""

    metrics: dict[str, Any]
    manifest: pd.DataFrame
    classes: pd.DataFrame
    truth: pd.Series[int]
    descriptions: pd.DataFrame
    quality: pd.DataFrame
    near_duplicates: pd.DataFrame
    duplicates_note: str
    """How many of the pairs were found, where they were not all looked for."""
    names_told: dict[str, Any]
    """Content of names.json: whether the class names say anything about the images."""
    pseudo_labels: pd.DataFrame
    answers: pd.DataFrame
    """Class ids of the reported split, int32, images (the index) x methods."""
    tops: dict[str, Top]
    """Of the final method and of its rival."""
    per_class: pd.DataFrame
    """Rows of the reported split alone."""
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    curve: pd.DataFrame
    stores: dict[str, dict[str, dict[str, Any]]]
    """role -> split -> meta.json"""

    @cached_property
    def names(self) -> list[str]:
        """Class names in order of class id."""
        return [str(name) for name in self.classes.sort_values("class_id")["name"]]

    @cached_property
    def in_force(self) -> InForce:
        """The methods that were run, in the order of all tables, and the parts they play."""
        return InForce.of(self.metrics["in_force"])

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Title and colour of every method."""
        return looks(self.in_force)

    @cached_property
    def actual(self) -> np.ndarray:
        """The true class ids of the reported split in the order of `answers`, int64 [n]; -1 where there is no label."""
        return truth_of(self.answers.index, self.truth)

    @property
    def top(self) -> Top:
        """What the final method predicts."""
        return self.tops[self.final]

    @property
    def methods(self) -> list[str]:
        """The names of the methods, in order."""
        return self.in_force.names

    @property
    def final(self) -> str:
        """The method whose predictions are the product."""
        return self.in_force.final

    @property
    def baseline(self) -> str:
        """The method that gains are measured from."""
        return self.in_force.baseline

    @property
    def rival(self) -> str | None:
        """The method that the final one is compared with image by image: the baseline, or another one where that is the final
        method; None of a single method.
        """
        return rival_of(self.in_force)

    @property
    def students(self) -> list[str]:
        """The methods that tune CLIP, in order."""
        return [one.name for one in self.in_force.methods if one.kind == "student"]

    @property
    def compared(self) -> list[str]:
        """The methods shown where there is no room for all: baseline, text classifier, teacher and final method."""
        roles = self.in_force
        return [name for name in roles.names if name in (roles.baseline, roles.text_classifier, roles.teacher, roles.final)]

    def title(self, method: str) -> str:
        """The name a reader sees; a teacher or text classifier that is not in force goes by its name."""
        return self.looks[method].title if method in self.looks else method.replace("_", " ")

    def label_free(self) -> dict[str, dict[str, Any]]:
        """Method -> the scores of the reported split that need no label."""
        return self.metrics["label_free"].get(self.metrics["split"], {})

    def warnings(self) -> dict[str, str]:
        """Student -> what the guard says of it on the reported split; only where it says something."""
        scores = self.label_free()
        return {name: scores[name]["warning"] for name in self.students if "warning" in scores.get(name, {})}


def load(folder: Path) -> Tables:
    """Read `folder` (`data/<dataset>`): its tables, metrics.json, the plots' tables and the feature stores' meta.json.

    Raises:
        NolaError: a file is absent or damaged.
    """
    metrics, in_force = read_metrics(folder / "metrics.json")
    manifest = files.read_table(folder / "manifest.parquet", ["image_id", "split", "ok", "reason"])
    classes = files.read_table(folder / "classes.parquet")
    predictions = Predictions.open(folder / "predictions.parquet")
    answers, tops = _answers(predictions, metrics["split"], in_force)
    per_class = _read_csv(folder / "per_class.csv")
    stores: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob("features/[!.]*/[!.]*/meta.json")):  # hidden folders are scratch
        stores.setdefault(path.parent.parent.name, {})[path.parent.name] = files.read_json(path)
    taught = list(predictions.given("train"))  # no test of the methods, see the stage evaluate
    labels = files.read_table(folder / "labels.parquet")
    labels = labels[~labels["image_id"].isin(taught)] if taught else labels
    return Tables(
        metrics=metrics,
        manifest=manifest,
        classes=classes,
        truth=check_labels(labels, manifest, classes),
        descriptions=files.read_table(folder / "descriptions.parquet"),
        quality=files.read_table(folder / "description_quality.parquet"),
        near_duplicates=files.read_table(folder / "near_duplicates.parquet"),
        duplicates_note=files.read_note(folder / "near_duplicates.parquet"),
        names_told=files.read_json(folder / "names.json"),
        pseudo_labels=files.read_table(folder / "pseudo_labels.parquet"),
        answers=answers,
        tops=tops,
        per_class=per_class[per_class["split"] == metrics["split"]],
        confusion=_read_csv(folder / "plots/confusion.csv"),
        reliability=_read_csv(folder / "plots/reliability.csv"),
        curve=_read_csv(folder / "curve.csv"),
        stores=stores,
    )


def rival_of(in_force: InForce) -> str | None:
    """See `Tables.rival`."""
    others = [name for name in (in_force.baseline, in_force.teacher, *in_force.names) if name != in_force.final]
    return next((name for name in others if name in in_force.names), None)


def _answers(table: Predictions, split: str, in_force: InForce) -> tuple[pd.DataFrame, dict[str, Top]]:
    """`Tables.answers` and `Tables.tops`, read one method at a time."""
    columns, tops = {}, {}
    index: pd.Index[Any] = pd.Index([])
    for number, method in enumerate([in_force.final, *(name for name in in_force.names if name != in_force.final)]):
        whole = method in (in_force.final, rival_of(in_force))
        rows = table.read(split, method, ["image_id", "class_id", *(("top_classes", "top_probabilities") if whole else ())])
        if number == 0:
            index = pd.Index(rows["image_id"], name="image_id")
        elif not pd.Index(rows["image_id"]).equals(index):
            rows = rows.iloc[pd.Index(rows["image_id"]).get_indexer(index)]
        columns[method] = rows["class_id"].to_numpy(np.int32)
        if whole:
            tops[method] = Top(matrix(rows["top_classes"]), matrix(rows["top_probabilities"]))
    return pd.DataFrame({method: columns[method] for method in in_force.names}, index=index), tops


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    # Class names such as "nan" or "null" are names; only an empty accuracy is missing.
    frame = as_written(
        pd.read_csv(path, keep_default_na=False, dtype={"class": str, "actual": str, "predicted": str, "image_id": str})
    )
    if "predicted" in frame.columns and "accuracy" in frame.columns:
        frame["predicted"] = frame["predicted"].astype(int)
        frame["accuracy"] = pd.to_numeric(frame["accuracy"].replace("", np.nan))
    return frame


def gain_of(tables: Tables, method: str) -> Gain | None:
    """`paired_gain` of a method over the baseline on the labelled images of the reported split; None without any."""
    known = tables.actual >= 0
    if not known.any():
        return None
    actual = tables.actual[known]
    before, after = (tables.answers[name].to_numpy()[known] for name in (tables.baseline, method))
    return paired_gain(before == actual, after == actual)


def interval_of(tables: Tables, method: str) -> tuple[float, float]:
    """95 % interval of a method's accuracy on the labelled images of the reported split; there must be some."""
    count = tables.metrics["labelled"]
    return accuracy_interval(round(tables.metrics["methods"][method]["top1"] * count), count)
