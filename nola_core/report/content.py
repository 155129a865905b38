"""What the report says: read from the files of a data set and put into sentences and rows, without any drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nola_core import files
from nola_core.datasets.names import changed_names, telling_nothing
from nola_core.errors import NolaError
from nola_core.evaluation import SPLITS, check_labels, read_metrics, truth_of
from nola_core.methods.method import InForce, Kind, Listed
from nola_core.prediction import Predictions
from nola_core.report.intervals import Gain, accuracy_interval, paired_gain
from nola_core.report.style import Look, looks, percent, signed
from nola_core.text import as_written

KINDS: Mapping[Kind, str] = {"text": "text method", "features": "feature method", "student": "student"}
NAMED_METHODS = 5
"""A sentence names at most this many methods."""


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
    pseudo_labels: pd.DataFrame
    predictions: pd.DataFrame
    """`image_id, method, class_id` of the reported split alone."""
    per_class: pd.DataFrame
    """Rows of the reported split alone."""
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    curve: pd.DataFrame
    stores: dict[str, dict[str, dict[str, Any]]]
    """role -> split -> meta.json"""

    @property
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
    def answers(self) -> pd.DataFrame:
        """Class ids of the reported split, images x methods."""
        rows = self.predictions.groupby("method", sort=False)
        return pd.concat({method: mine.set_index("image_id")["class_id"] for method, mine in rows}, axis=1)

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
    metrics, _ = read_metrics(folder / "metrics.json")
    manifest = files.read_table(folder / "manifest.parquet", ["image_id", "split", "ok", "reason"])
    classes = files.read_table(folder / "classes.parquet")
    predictions = Predictions.open(folder / "predictions.parquet")
    per_class = _read_csv(folder / "per_class.csv")
    stores: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob("features/[!.]*/[!.]*/meta.json")):  # hidden folders are scratch
        stores.setdefault(path.parent.parent.name, {})[path.parent.name] = files.read_json(path)
    return Tables(
        metrics=metrics,
        manifest=manifest,
        classes=classes,
        truth=check_labels(files.read_table(folder / "labels.parquet"), manifest, classes),
        descriptions=files.read_table(folder / "descriptions.parquet"),
        quality=files.read_table(folder / "description_quality.parquet"),
        near_duplicates=files.read_table(folder / "near_duplicates.parquet"),
        duplicates_note=files.read_note(folder / "near_duplicates.parquet"),
        pseudo_labels=files.read_table(folder / "pseudo_labels.parquet"),
        predictions=predictions.read(metrics["split"], None, ["image_id", "method", "class_id"]),
        per_class=per_class[per_class["split"] == metrics["split"]],
        confusion=_read_csv(folder / "plots/confusion.csv"),
        reliability=_read_csv(folder / "plots/reliability.csv"),
        curve=_read_csv(folder / "curve.csv"),
        stores=stores,
    )


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
    answers = tables.answers
    actual = truth_of(answers.index, tables.truth)
    answers, actual = answers[actual >= 0], actual[actual >= 0]
    if answers.empty:
        return None
    return paired_gain(answers[tables.baseline].to_numpy() == actual, answers[method].to_numpy() == actual)


def interval_of(tables: Tables, method: str) -> tuple[float, float]:
    """95 % interval of a method's accuracy on the labelled images of the reported split; there must be some."""
    count = tables.metrics["labelled"]
    return accuracy_interval(round(tables.metrics["methods"][method]["top1"] * count), count)


def headline(tables: Tables) -> list[str]:
    """One to three sentences: the accuracy of the final method, against the baseline's, and how certain the difference is."""
    metrics = tables.metrics
    final, baseline = tables.title(tables.final), f"the baseline, {tables.title(tables.baseline)}"
    kind = "held-out images" if metrics["protocol"] == "inductive" else "train images"
    gain = gain_of(tables, tables.final)
    if gain is None:
        sentences = [
            f"{final} sorts {metrics['images']:,} {kind} into {metrics['classes']:,} classes.",
            "There is no ground truth, so this page cannot say how many of its predictions are right.",
        ]
        if tables.final != tables.baseline:
            changed = float((tables.answers[tables.final] != tables.answers[tables.baseline]).mean())
            sentences.append(f"{percent(changed)} of them differ from those of {baseline}.")
        return sentences
    labelled = metrics["labelled"]
    images = f"{labelled:,} {'labelled ' if labelled < metrics['images'] else ''}{kind}"
    after, before = (percent(metrics["methods"][method]["top1"]) for method in (tables.final, tables.baseline))
    if tables.final == tables.baseline:
        return [f"{final} classifies {after} of {images} correctly.", "No label was used."]
    if gain.mean == 0:
        first = f"No gain: {final} and {baseline}, both classify {after} of {images} correctly."
    elif gain.mean < 0:
        first = f"{final} is worse than {baseline}: it classifies {after} of {images} correctly, the baseline {before}."
    else:
        first = f"{final} classifies {after} of {images} correctly; {baseline}, {before}."
    sentences = [first, "No label was used."]
    if gain.mean != 0:
        p = f"p = {gain.p:.3f}" if gain.p >= 0.0005 else "p < 0.001"
        doubt = ", so it could be chance" if gain.may_be_chance else ""
        sentences.append(
            f"The difference is {signed(gain.mean)} points (95\u00a0% interval {signed(gain.low)} to {signed(gain.high)}; "
            f"{gain.won:,} images won, {gain.lost:,} lost, exact McNemar {p}{doubt})."
        )
    return sentences


def notices(tables: Tables) -> list[str]:
    """Whatever a reader must know before trusting the figures; empty if there is nothing."""
    found: list[str] = []
    split, final = tables.metrics["split"], tables.title(tables.final)
    warning = tables.warnings().get(tables.final)
    if warning:
        found.append(f"{warning} Consider the predictions of the teacher, {tables.title(tables.in_force.teacher)}, instead.")
    scores = {method: values["top1"] for method, values in tables.metrics["methods"].items()}
    better = sorted((name for name in scores if scores[name] > scores[tables.final]), key=lambda name: -scores[name])
    if better:
        shown = [f"{tables.title(name)} {percent(scores[name])}" for name in better[:NAMED_METHODS]]
        rest = [f"{len(better) - NAMED_METHODS} more"] if len(better) > NAMED_METHODS else []
        found.append(f"{final} is not the most accurate method here: {listed(shown + rest)}.")
    mine = tables.per_class[tables.per_class["method"] == tables.final]
    nobody = [str(name) for name in mine.loc[mine["predicted"] == 0, "class"]]
    if nobody:
        found.append(f"{final} predicts no image of the {split} split to be of {_several(nobody, 'class')}.")
    chosen = tables.pseudo_labels.loc[tables.pseudo_labels["selected"].astype(bool), "class_id"]
    without = [name for class_id, name in enumerate(tables.names) if class_id not in set(chosen)]
    if without:
        found.append(f"No pseudo-label was selected for {_several(without, 'class')}.")
    nothing = telling_nothing([str(name) for name in tables.classes["display_name"]])
    if nothing:
        found.append(f"CLIP cannot know what these names mean: {_several(nothing, 'class')}.")
    cut = int(tables.quality["truncated"].sum())
    if cut:
        found.append(
            f"CLIP reads only the beginning of {cut:,} of {len(tables.quality):,} descriptions: they are too long for it."
        )
    leaked = leaked_images(tables.near_duplicates, split)
    if leaked:
        subject = f"1 image of the {split} split has" if leaked == 1 else f"{leaked:,} images of the {split} split have"
        doubt = ", so the accuracies may be too high" if scores else ""
        found.append(f"{subject} a near copy in another split{doubt}.")
    unreadable = int((~tables.manifest["ok"].astype(bool)).sum())
    if unreadable:
        found.append(f"{unreadable:,} of {len(tables.manifest):,} files could not be used; they are listed under Data.")
    return found


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _several(names: Sequence[str], noun: str, most: int = 8) -> str:
    """`the class zero`, or `12 classes: zero, one, ... and 4 more`."""
    if len(names) == 1:
        return f"the {noun} {names[0]}"
    shown = ", ".join(names[:most])
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,} {noun}es: {shown}{rest}"


def leaked_images(near_duplicates: pd.DataFrame, split: str) -> int:
    """How many images of `split` have a near duplicate in another split, on whichever side of a pair they stand."""
    across = near_duplicates[near_duplicates["split"] != near_duplicates["other_split"]]
    ids = set(across.loc[across["split"] == split, "image_id"])
    return len(ids | set(across.loc[across["other_split"] == split, "other_id"]))


def method_rows(tables: Tables) -> list[dict[str, str]]:
    """The table of methods on the reported split: texts ready to show; figures are empty without ground truth."""
    rows = []
    for one in tables.in_force.methods:
        row = {"method": one.name, "name": one.title, "what": f"{_roles(tables.in_force, one)}: {one.summary}"}
        scores = tables.metrics["methods"].get(one.name)
        if scores:
            low, high = interval_of(tables, one.name)
            row |= {key: percent(scores[key]) for key in ("top1", "top5", "mean_per_class", "ece")}
            row["interval"] = f"{100 * low:.1f} – {100 * high:.1f}"
            gain = gain_of(tables, one.name)
            row["gain"] = "" if one.name == tables.baseline or gain is None else signed(gain.mean)
        free = tables.label_free().get(one.name)
        if free:
            row["nuclear_norm"] = f"{free['nuclear_norm']:.3f}"
            row["variety"] = f"{free['answer_nuclear_norm']:.3f}"
            row["entropy"] = f"{free['mean_prediction_entropy']:.3f}"
            row["confidence"] = percent(free["mean_confidence"])
        rows.append(row)
    return rows


def _roles(in_force: InForce, one: Listed) -> str:
    """The kind of a method and the parts it plays: `Feature method, teacher`."""
    parts = {
        "baseline": in_force.baseline,
        "text classifier": in_force.text_classifier,
        "teacher": in_force.teacher,
        "final method": in_force.final,
    }
    words = ", ".join([KINDS[one.kind], *(part for part, name in parts.items() if name == one.name)])
    return words[0].upper() + words[1:]


def renamed_classes(tables: Tables) -> list[tuple[str, str]]:
    """(name, name in texts) of the classes that prompts and templates call otherwise than the data set does."""
    ordered = tables.classes.sort_values("class_id")
    return changed_names(ordered["name"].tolist(), ordered["display_name"].tolist())


def split_rows(tables: Tables) -> list[dict[str, str]]:
    """For every split: how many images there are, and how many of them are readable and labelled."""
    rows = []
    readable = tables.manifest["ok"].astype(bool)
    for split in SPLITS:
        inside = tables.manifest["split"] == split
        if not inside.any():
            continue
        ids = tables.manifest.loc[inside & readable, "image_id"]
        labelled = int((truth_of(ids, tables.truth) >= 0).sum())
        rows.append({"split": split, "files": f"{int(inside.sum()):,}", "readable": f"{len(ids):,}", "labelled": f"{labelled:,}"})
    return rows


def accuracy_rows(tables: Tables) -> list[tuple[str, str, list[str]]]:
    """(name, title, top-1 on each labelled split, in order of `metrics["splits"]`) of every method."""
    splits = tables.metrics["splits"].values()
    return [(name, tables.title(name), [percent(scores[name]["top1"]) for scores in splits]) for name in tables.methods]


def class_rows(tables: Tables) -> list[dict[str, str]]:
    """One row a class: accuracy and predicted images of the baseline and the final method, and its pseudo-labels."""

    def rows_of(method: str) -> list[dict[str, Any]]:
        mine = tables.per_class[tables.per_class["method"] == method].sort_values("class_id")
        return [{str(key): value for key, value in row.items()} for row in mine.to_dict("records")]

    def share(value: float | None) -> str:
        return "" if value is None or math.isnan(value) else percent(value)

    pseudo = tables.metrics["pseudo_labels"]["classes"]
    return [
        {
            "name": name,
            "images": f"{last['images']:,}" if last["images"] else "",
            "before": share(first["accuracy"]),
            "after": share(last["accuracy"]),
            "predicted_before": f"{first['predicted']:,}",
            "predicted": f"{last['predicted']:,}",
            "selected": f"{pseudo[name]['selected']:,}",
            "pseudo_accuracy": share(pseudo[name].get("accuracy")),
        }
        for name, first, last in zip(tables.names, rows_of(tables.baseline), rows_of(tables.final), strict=True)
    ]


def confused_pairs(tables: Tables, most: int = 10) -> list[tuple[str, str, int]]:
    """The most frequent errors of the final method: actual class, predicted class, images."""
    errors = tables.confusion[tables.confusion["actual"] != tables.confusion["predicted"]]
    counts = errors.groupby(["actual", "predicted"], as_index=False).size()
    first = counts.sort_values("size", ascending=False, kind="stable").head(most)
    return list(zip(first["actual"], first["predicted"], first["size"], strict=True))


def model_rows(tables: Tables) -> list[dict[str, str]]:
    """One row a backbone: model, weights and their hash, transform, size of the features, library versions."""
    purposes = {"clip": "CLIP, image tower", "ssl": "self-supervised"}
    rows = []
    for role, by_split in tables.stores.items():
        meta = next(iter(by_split.values()))
        rows.append(
            {
                "role": purposes.get(role, role),
                "model": str(meta["model"]),
                "weights": str(meta["weights"]),
                "sha256": str(meta["weights_sha256"]),
                "transform": _plain(meta["transform"]),
                "features": f"{meta['dim']} x {meta['dtype']}; "
                + ", ".join(f"{split} {by_split[split]['count']:,}" for split in SPLITS if split in by_split),
                "versions": _plain(meta["versions"]) + (f"; {meta['threads']} threads" if "threads" in meta else ""),
            }
        )
    return rows


def parameter_rows(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, [(key, value)]) of every parameter; those outside any section come first under an empty name."""
    top = [(key, _plain(value)) for key, value in settings.items() if not isinstance(value, Mapping)]
    sections = [
        (key, [(name, _plain(item)) for name, item in value.items()])
        for key, value in settings.items()
        if isinstance(value, Mapping)
    ]
    return [("", top), *sections] if top else sections


def why_undescribed(describe: Mapping[str, Any], dataset: str) -> str:
    """Why a data set has no descriptions, in words that say what would change it.

    Args:
        describe: the parameters of the stage `describe`.
        dataset: its name.
    """
    if describe["provider"] == "none":
        return "describe.provider is none."
    if describe["provider"] == "llm":
        return (
            "describe.provider is llm, but no language model was configured (OPENAI_API_KEY or NOLA_LLM_BASE_URL) "
            "and no answer was in the cache."
        )
    return f"data/{dataset}.yaml names no table of `descriptions`."


def _plain(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
