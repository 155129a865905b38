"""The README.md of a model folder: what the model is, how to use it, what was measured. Model hubs read its front matter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from nola_core.corrections import sentence
from nola_core.text import enumerated, markdown_safe, printable

LICENCES = frozenset(
    {"mit", "apache-2.0", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0"}
)
"""Identifiers of model hubs that weights come with; any other licence is `other` there, with its name."""
SHOWN = 50
"""Class names are listed up to this many; all are in model.json."""


def card(about: Mapping[str, Any], *, include_weights: bool) -> str:
    """Markdown with the front matter of a model card.

    Args:
        about: content of model.json.
        include_weights: whether the frozen towers are in the folder.
    """
    names = about["classes"]
    base = [_weights(backbone) for backbone in about["backbones"].values()]
    front = {
        "library_name": "nola",
        "pipeline_tag": "image-classification" if about["method"] != "zero_shot" else "zero-shot-image-classification",
        "tags": list(dict.fromkeys(["nola", "clip", *([] if about.get("corrections") else ["label-free"]), about["method"]])),
        **_licence(about["backbones"].values()),
        **_results(about),
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {markdown_safe(about['title'])} for {markdown_safe(about['dataset'])}", ""]
    lines += [
        f"An image classifier for {len(names):,} classes, made by NoLA {about['nola']}{_labels(about)}.",
        f"{markdown_safe(about['title'])}: {markdown_safe(about['summary'])}.",
        "",
        "## Use",
        "",
        "```python",
        "import nola_core",
        "",
        'model = nola_core.load("path/to/this/folder")',
        'print(model.predict(["photo.jpg"]))',
        "```",
        "",
        "or on the command line: `nola predict path/to/this/folder photos/ -o predictions.csv`.",
        "",
        "## Measured",
        "",
        _measured(about.get("measured")),
        "",
        "## Classes",
        "",
        enumerated(map(markdown_safe, names), most=SHOWN),
        "",
        "## Made with",
        "",
        f"- method: {markdown_safe(about['title'])} (`{about['method']}`), preset `{about['preset']}`, options "
        f"{_code(json.dumps(about['options']))}",
    ]
    if about["paper"]:
        lines.append(f"- paper: {markdown_safe(about['paper'])}")
    kept = "included in this folder" if include_weights else "referenced by name and hash, not included"
    lines += [f"- frozen weights: {', '.join(base)}; {kept}"]
    lines += ["- templates: " + "; ".join(_code(template) for template in about["templates"]), ""]
    return "\n".join(lines)


def _labels(about: Mapping[str, Any]) -> str:
    given = about.get("corrections")
    return f". {sentence(given)}" if given else " without any label"


def _licence(backbones: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The front matter's licence: that of the frozen weights where all have the same; none where one is not recorded."""
    licences = {str(backbone["licence"]) if backbone.get("licence") else "" for backbone in backbones}
    if "" in licences or not licences:
        return {}
    (name, *more) = sorted(licences, key=str.lower)
    if not more and name.lower() in LICENCES:
        return {"license": name.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", " and ".join([name, *more]).lower()).strip("-")}


def _results(about: Mapping[str, Any]) -> dict[str, Any]:
    """The front matter's `metrics` and `model-index`, where the accuracy was measured."""
    measured = about.get("measured")
    if not measured:
        return {}
    dataset = {"name": about["dataset"], "type": about["dataset"], "split": measured["split"]}
    audit = measured.get("audit")
    value = measured["top1"] if "top1" in measured else audit["accuracy"]
    name = "Top-1 accuracy" if "top1" in measured else f"Top-1 accuracy, by an audit of {audit['labels']:,} images"
    metrics = [{"type": "accuracy", "name": name, "value": round(float(value), 4)}]
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
    name = f"{about['title']} for {about['dataset']}"
    return {"metrics": ["accuracy"], "model-index": [{"name": name, "results": [result]}]}


def _measured(measured: Mapping[str, Any] | None) -> str:
    if not measured:
        return (
            "The accuracy of this model has not been measured. Where the collection has labels or an audit (`nola audit`), "
            "`nola export` writes it here."
        )
    sentences = []
    if "top1" in measured:
        sentences.append(
            f"Top-1 accuracy {measured['top1']:.1%} on {measured['labelled']:,} labelled images of the split {measured['split']} "
            f"({measured['protocol']}), calibration error {measured['ece']:.1%}. Labels were used for this figure alone."
        )
    if audit := measured.get("audit"):
        sentences.append(
            f"Accuracy {audit['accuracy']:.1%} (95 % interval {audit['low']:.1%} to {audit['high']:.1%}) on the images of the "
            f"split {measured['split']}, measured by a person on {audit['labels']:,} of them, which were drawn at random."
        )
    return " ".join(sentences)


def _weights(backbone: Mapping[str, Any]) -> str:
    spec = backbone["spec"]
    name = " ".join(str(spec[key]) for key in ("model", "pretrained", "checkpoint") if spec.get(key))
    licence = markdown_safe(backbone["licence"]) if backbone.get("licence") else "not recorded, see where the weights come from"
    return f"{_code(name)} (licence: {licence})"


def _code(text: str) -> str:
    """A code span, whatever the text holds."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{printable(text)}{fence}"
