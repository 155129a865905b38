"""The top of the page: what was done, how accurate it is, and what can be said where nobody measured that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nola_core.report.corrected import labels_used
from nola_core.report.style import percent, shown, signed
from nola_core.report.tables import Tables, gain_of, interval_of
from nola_core.trust import names as trust
from nola_core.trust import ranking


@dataclass(frozen=True)
class Fact:
    """A figure in large letters: the value, what it is, and how certain it is."""

    value: str
    what: str
    about: str


def verdict(tables: Tables) -> str | None:
    """What a reader must know first: that the class names say little about the images; None where they do not."""
    told = tables.names_told
    return trust.verdict({**told, "ranks": {shown(name): rank for name, rank in told["ranks"].items()}})


def done(tables: Tables, preset: str | None, changed: int) -> list[str]:
    """What was done: the images, the classes, the method, whether labels were used, the models and the settings.

    Args:
        preset: its name; None if the settings name none.
        changed: settings that differ from it.
    """
    images = int(tables.manifest["ok"].sum())
    models = [shown(next(iter(by_split.values()))["model"]) for by_split in tables.stores.values()]
    count = f"{changed:,} {'setting' if changed == 1 else 'settings'} changed"
    settings = f", with the preset {preset}" + (f" and {count}" if changed else "") if preset else ""
    features = f"It reads features of {' and '.join(models)}{settings}."
    return [
        f"{tables.title(tables.final)} sorts {images:,} images into {tables.metrics['classes']:,} classes.",
        labels_used(tables.metrics),
        *([features] if models else []),
    ]


def facts(tables: Tables) -> list[Fact]:
    """The measured accuracies, or that there is none."""
    metrics = tables.metrics
    found = []
    if metrics["methods"]:
        low, high = (percent(end) for end in interval_of(tables, tables.final))
        value = percent(metrics["methods"][tables.final]["top1"])
        found.append(Fact(value, "accuracy", f"95\u00a0% interval {low} to {high}, {_images(tables)}"))
        if tables.final != tables.baseline:
            before = percent(metrics["methods"][tables.baseline]["top1"])
            found.append(Fact(before, tables.title(tables.baseline), "the baseline, on the same images"))
    audit = metrics.get("audit")
    if audit:
        accuracy, low, high = (percent(audit[key]) for key in ("accuracy", "low", "high"))
        about = f"95\u00a0% interval {low} to {high}, {_judged(audit)}"
        found.append(Fact(accuracy, "accuracy by audit" if found else "accuracy", about))
    return found or [Fact("not measured", "accuracy", "no label, no audit")]


def result(tables: Tables) -> list[str]:
    """The accuracy of the final method against the baseline's, and how certain the difference is; or that there is none."""
    metrics = tables.metrics
    final, baseline = tables.title(tables.final), f"the baseline, {tables.title(tables.baseline)}"
    gain = gain_of(tables, tables.final)
    if gain is None:
        sentences = [] if metrics.get("audit") else [audited(metrics)]  # `facts` has it
        if tables.final != tables.baseline:
            changed = float((tables.answers[tables.final] != tables.answers[tables.baseline]).mean())
            sentences.append(f"{percent(changed)} of the predictions differ from those of {baseline}.")
        return sentences
    images = _images(tables)
    after, before = (percent(metrics["methods"][method]["top1"]) for method in (tables.final, tables.baseline))
    if tables.final == tables.baseline:
        return [f"{final} classifies {after} of {images} correctly."]
    if gain.mean == 0:
        first = f"No gain: {final} and {baseline}, both classify {after} of {images} correctly."
    elif gain.mean < 0:
        first = f"{final} is worse than {baseline}: it classifies {after} of {images} correctly, the baseline {before}."
    else:
        first = f"{final} classifies {after} of {images} correctly; {baseline}, {before}."
    sentences = [first]
    if gain.mean != 0:
        p = f"p = {gain.p:.3f}" if gain.p >= 0.0005 else "p < 0.001"
        doubt = ", so it could be chance" if gain.may_be_chance else ""
        sentences.append(
            f"The difference is {signed(gain.mean)} points (95\u00a0% interval {signed(gain.low)} to {signed(gain.high)}; "
            f"{gain.won:,} images won, {gain.lost:,} lost, exact McNemar {p}{doubt})."
        )
    return sentences


def audited(metrics: Mapping[str, Any]) -> str:
    """What a person measured; without an audit, that nobody did."""
    audit = metrics.get("audit")
    if audit is None:
        return "The accuracy was not measured: there is no ground truth. An audit of fifty images takes five minutes."
    accuracy, low, high = (percent(audit[key]) for key in ("accuracy", "low", "high"))
    return f"Accuracy {accuracy} (95\u00a0% interval {low} to {high}, {_judged(audit)})."


def _judged(audit: Mapping[str, Any]) -> str:
    """`measured on 50 images by a person; 2 more could not be judged`."""
    skipped = f"; {audit['skipped']:,} more could not be judged" if audit["skipped"] else ""
    later = f"; {audit['newcomers']:,} images came later" if audit["newcomers"] else ""
    return f"measured on {audit['labels']:,} images by a person{skipped}{later}"


def signs(tables: Tables) -> list[str]:
    """What the signals without labels say; empty where an accuracy was measured."""
    if tables.metrics["methods"] or tables.metrics.get("audit"):
        return []
    found = []
    told, scores = tables.names_told, tables.label_free()
    if told["images"] >= trust.LEAST_IMAGES and told["wins"] >= trust.WINS:
        found.append(
            f"The class names say something about these images: {percent(told['wins'], 0)} of them are nearer to a name than to "
            "as many nouns taken at random. Names without a meaning reach 50\u00a0%."
        )
    for signal in ranking.RANKED:
        mine, other = (scores.get(name, {}).get(signal) for name in (tables.final, tables.baseline))
        if mine is None or other is None:
            continue
        against = f", and {percent(other)} by {tables.title(tables.baseline)}" if tables.final != tables.baseline else ""
        found.append(
            f"{percent(mine)} of the images are predicted to be what most of their ten nearest neighbours are predicted to "
            f"be{against}. Of two methods, the one with more agreement was more accurate in "
            f"{percent(ranking.RANKED[signal], 0)} of pairs on benchmark collections it was not chosen on."
        )
    return found


def _images(tables: Tables) -> str:
    """`500 held-out images`."""
    metrics = tables.metrics
    kind = "held-out images" if metrics["protocol"] == "inductive" else "train images"
    labelled = metrics["labelled"]
    return f"{labelled:,} {'labelled ' if labelled < metrics['images'] else ''}{kind}"
