"""What the report says, in sentences and rows, without any drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nola_core.datasets.names import changed_names, telling_nothing
from nola_core.evaluation import SPLITS, truth_of
from nola_core.methods.method import InForce, Kind, Listed
from nola_core.report.corrected import labels_used, notice
from nola_core.report.style import percent, signed
from nola_core.report.tables import Tables, gain_of, interval_of
from nola_core.text import enumerated
from nola_core.trust import names as trust
from nola_core.trust import ranking

KINDS: Mapping[Kind, str] = {"text": "text method", "features": "feature method", "student": "student"}
NAMED_METHODS = 5
"""A sentence names at most this many methods."""


def headline(tables: Tables) -> list[str]:
    """What the page begins with: a verdict on class names that say little, then `result`."""
    told = trust.verdict(tables.names_told)
    return [*([told] if told else []), *result(tables)]


def result(tables: Tables) -> list[str]:
    """One to three sentences: the accuracy of the final method, against the baseline's, and how certain the difference is."""
    metrics = tables.metrics
    final, baseline = tables.title(tables.final), f"the baseline, {tables.title(tables.baseline)}"
    kind = "held-out images" if metrics["protocol"] == "inductive" else "train images"
    gain = gain_of(tables, tables.final)
    if gain is None:
        sentences = [f"{final} sorts {metrics['images']:,} {kind} into {metrics['classes']:,} classes.", audited(metrics)]
        if metrics.get("corrections"):
            sentences.append(labels_used(metrics))
        if tables.final != tables.baseline:
            changed = float((tables.answers[tables.final] != tables.answers[tables.baseline]).mean())
            sentences.append(f"{percent(changed)} of its predictions differ from those of {baseline}.")
        return sentences
    labelled = metrics["labelled"]
    images = f"{labelled:,} {'labelled ' if labelled < metrics['images'] else ''}{kind}"
    after, before = (percent(metrics["methods"][method]["top1"]) for method in (tables.final, tables.baseline))
    by_audit = [f"By audit: {audited(metrics)}"] if metrics.get("audit") else []
    if tables.final == tables.baseline:
        return [f"{final} classifies {after} of {images} correctly.", labels_used(metrics), *by_audit]
    if gain.mean == 0:
        first = f"No gain: {final} and {baseline}, both classify {after} of {images} correctly."
    elif gain.mean < 0:
        first = f"{final} is worse than {baseline}: it classifies {after} of {images} correctly, the baseline {before}."
    else:
        first = f"{final} classifies {after} of {images} correctly; {baseline}, {before}."
    sentences = [first, labels_used(metrics), *by_audit]
    if gain.mean != 0:
        p = f"p = {gain.p:.3f}" if gain.p >= 0.0005 else "p < 0.001"
        doubt = ", so it could be chance" if gain.may_be_chance else ""
        sentences.append(
            f"The difference is {signed(gain.mean)} points (95\u00a0% interval {signed(gain.low)} to {signed(gain.high)}; "
            f"{gain.won:,} images won, {gain.lost:,} lost, exact McNemar {p}{doubt})."
        )
    return sentences


def audited(metrics: Mapping[str, Any]) -> str:
    """What a person measured; without an audit, that nobody did, and how to."""
    audit = metrics.get("audit")
    if audit is None:
        return (
            "The accuracy was not measured: there is no ground truth. "
            f"An audit of fifty images takes five minutes: nola audit {metrics['dataset']}"
        )
    accuracy, low, high = (percent(audit[key]) for key in ("accuracy", "low", "high"))
    skipped = f"; {audit['skipped']:,} more could not be judged" if audit["skipped"] else ""
    later = f"; {audit['newcomers']:,} images came later" if audit["newcomers"] else ""
    return (
        f"Accuracy {accuracy} (95\u00a0% interval {low} to {high}, "
        f"measured on {audit['labels']:,} images by a person{skipped}{later})."
    )


def notices(tables: Tables) -> list[str]:
    """Whatever a reader must know before trusting the figures; empty if there is nothing."""
    found: list[str] = []
    split, final = tables.metrics["split"], tables.title(tables.final)
    if told := notice(tables.metrics):
        found.append(told)
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
    return f"{len(names):,} {noun}es: {enumerated(names, most=most)}"


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
            row |= {name: f"{free[name]:.3f}" for name in ranking.RANKED if name in free}
            row["variety"] = f"{free['answer_nuclear_norm']:.3f}"
            row["entropy"] = f"{free['mean_prediction_entropy']:.3f}"
        rows.append(row)
    return rows


def ranked(tables: Tables) -> list[tuple[str, str, str]]:
    """(name, title, sentence) of the signals that rank methods; none where they were not computed."""
    found = tables.label_free().values()
    return [
        (name, ranking.TITLES[name], f"{ranking.sentence(name)[0].upper()}{ranking.sentence(name)[1:]}.")
        for name in ranking.RANKED
        if found and all(name in one for one in found)
    ]


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
