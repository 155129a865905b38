"""The card's front matter is what a model hub reads, checked with the hub's own client."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import ModelCard

from nola_core.model_card import card

MEASURED = {"split": "test", "protocol": "inductive", "images": 50, "labelled": 40, "top1": 0.87654, "ece": 0.02}


def about(*licences: str | None, measured: dict[str, Any] | None = None) -> dict[str, Any]:
    backbones = {
        role: {"spec": {"model": "ViT-B-32"}, "licence": licence}
        for role, licence in zip(("clip", "ssl"), licences, strict=False)
    }
    return {
        "nola": "0.1.0",
        "dataset": 'pets: "my" #1',
        "method": "nola",
        "title": "NoLA",
        "summary": "s",
        "paper": "p",
        "options": {},
        "preset": "paper",
        "classes": ["cat", "dog"],
        "templates": ["a {}."],
        "backbones": backbones,
        "measured": measured,
    }


def test_the_hub_reads_the_accuracy_only_where_it_was_measured() -> None:
    data = ModelCard(card(about("MIT", "MIT", measured=MEASURED), include_weights=False)).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "nola", "image-classification")
    (result,) = data.eval_results
    assert (result.task_type, result.metric_type, result.metric_value) == ("image-classification", "accuracy", 0.8765)
    assert result.dataset_name == 'pets: "my" #1' and result.dataset_split == "test" and data.metrics == ["accuracy"]
    audit = {"accuracy": 0.9, "low": 0.8, "high": 0.96, "labels": 50}
    text = card(about("MIT", "MIT", measured={"split": "train", "audit": audit}), include_weights=False)
    (result,) = ModelCard(text).data.eval_results
    assert (result.metric_name, result.metric_value) == ("Top-1 accuracy, by an audit of 50 images", 0.9)
    assert "Accuracy 90.0% (95 % interval 80.0% to 96.0%)" in text and "labelled images" not in text
    data = ModelCard(card(about("MIT", "MIT"), include_weights=False)).data
    assert data.eval_results is None and data.get("metrics") is None


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (("Apache-2.0",), ("apache-2.0", None)),
        (("MIT", "DINOv3 License"), ("other", "dinov3-license-and-mit")),
        (("CC-BY-NC 4.0 (weights)",), ("other", "cc-by-nc-4.0-weights")),
        (("MIT", None), (None, None)),
    ],
)
def test_the_licence_is_that_of_the_weights(licences: tuple[str | None, ...], expected: tuple[str | None, str | None]) -> None:
    data = ModelCard(card(about(*licences), include_weights=True)).data
    assert (data.get("license"), data.get("license_name")) == expected
