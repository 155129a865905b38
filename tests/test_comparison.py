"""The rows of `nola compare`, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nola_core.comparison import compare, draw, interval
from nola_core.report.intervals import accuracy_interval
from tests.report.example import in_force_of

LADDER = in_force_of("zero_shot", "cde", "alignment", "nola", final="nola")


def metrics(top1: dict[str, float], *, labelled: int = 100, split: str = "test", protocol: str = "inductive") -> dict[str, Any]:
    score = {"answer_nuclear_norm": 0.8, "mean_prediction_entropy": 0.9, "neighbors_ssl": 0.7, "images": 120}
    return {
        "in_force": LADDER.values(), "split": split, "protocol": protocol, "images": 120, "labelled": labelled if top1 else 0,
        "methods": {name: {"top1": value} for name, value in top1.items()},
        "agreement": {name: 1.0 if name == "nola" else 0.5 for name in LADDER.names},
        "label_free": {split: dict.fromkeys(LADDER.names, score)},
    }  # fmt: skip


FULL = {"zero_shot": 0.5, "cde": 0.55, "alignment": 0.7, "nola": 0.8}


@given(st.integers(1, 400), st.data())
def test_the_interval_is_wilsons(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    assert interval(right / count, count) == pytest.approx(accuracy_interval(right, count), abs=1e-12)


def test_rows_by_data_set_and_method_with_gains_and_changes() -> None:
    other = metrics(FULL | {"nola": 0.75, "zero_shot": 0.5})
    found = compare({"now": {"pets": metrics(FULL), "birds": metrics({})}, "before": {"pets": other}})
    assert [(row.dataset, row.method) for row in found.rows] == [(d, m) for d in ("pets", "birds") for m in LADDER.names]
    final = found.of("pets")[-1]
    assert final.parts == ("final",) and found.of("pets")[1].parts == ("text classifier",)
    assert final.gain("now", found.baseline("pets")) == pytest.approx(0.3)
    assert final.change("now", "before") == pytest.approx(0.05)
    assert found.measured("pets") and not found.measured("birds")
    bird = found.of("birds")[0].scores["now"]
    assert (bird.top1, bird.low, bird.agreement, bird.neighbors) == (None, None, 0.5, 0.7)
    (note,) = found.notes()
    assert note.startswith("birds has no labels, so no accuracy was measured.")


def test_without_labels_the_accuracy_is_that_of_an_audit() -> None:
    figures = {"accuracy": 0.9, "low": 0.8, "high": 0.95}
    audit = {"labels": 50, "methods": {"nola": figures, "zero_shot": {**figures, "accuracy": 0.84}}}
    found = compare({"now": {"birds": metrics({}) | {"audit": audit}}, "before": {"birds": metrics({}) | {"audit": audit}}})
    final = found.of("birds")[-1]
    score = final.scores["now"]
    assert (score.top1, score.low, score.high, score.labelled, score.audited) == (0.9, 0.8, 0.95, 50, True)
    assert final.gain("now", found.baseline("birds")) == pytest.approx(0.06) and final.change("now", "before") is None
    assert found.measured("birds") and found.means("now") == ([], {})
    assert found.notes()[0].startswith("birds: the accuracies are those of an audit of 50 images.")
    labelled = compare({"now": {"pets": metrics(FULL) | {"audit": audit}}}).of("pets")[-1].scores["now"]
    assert (labelled.top1, labelled.labelled, labelled.audited) == (0.8, 100, False)


def test_accuracies_on_other_images_are_not_subtracted() -> None:
    found = compare({"now": {"pets": metrics(FULL)}, "before": {"pets": metrics(FULL, labelled=50)}})
    assert found.rows[0].change("now", "before") is None
    assert found.notes() == ["pets: the runs were measured on different images, so their accuracies are not subtracted."]


def test_corrections_are_said_and_another_class_list_is_not_compared() -> None:
    corrected = {**metrics(FULL), "corrections": {"images": 3, "merges": 0, "classes": 0, "left_out": 0}}
    found = compare({"now": {"pets": corrected}, "before": {"pets": metrics(FULL)}})
    assert found.rows[0].change("now", "before") == 0
    assert found.notes() == ["pets: 3 corrections were given (3 images): not label-free."]
    corrected["corrections"]["merges"] = 1
    found = compare({"now": {"pets": metrics(FULL)}, "before": {"pets": corrected}})
    assert found.rows[0].change("now", "before") is None
    assert found.notes() == [
        "pets, before: 4 corrections were given (3 images, 1 merged class): not label-free.",
        "pets: the runs were measured on different class lists, so their accuracies are not subtracted.",
    ]


def test_a_data_set_that_only_the_other_run_has() -> None:
    found = compare({"now": {}, "before": {"pets": metrics(FULL, split="train", protocol="transductive")}})
    assert [set(row.scores) for row in found.rows] == [{"before"}] * 4
    assert found.rows[0].change("now", "before") is None
    assert "are on the images the methods were fitted on" in found.notes()[0]


def test_means_are_of_test_images_and_of_methods_that_every_data_set_has() -> None:
    sets = {"a": metrics(FULL), "b": metrics({"zero_shot": 0.7, "nola": 0.6}), "c": metrics({})}
    sets["d"] = metrics(FULL, split="train", protocol="transductive")
    datasets, means = compare({"now": sets}).means("now")
    assert datasets == ["a", "b"] and means == pytest.approx({"Zero-shot": 0.6, "NoLA": 0.7})
    assert compare({"now": {"a": metrics(FULL), "d": sets["d"]}}).means("now") == ([], {})


def test_metrics_of_an_earlier_version_have_no_agreement() -> None:
    old = metrics(FULL)
    del old["agreement"]
    assert compare({"now": {"pets": old}}).rows[0].scores["now"].agreement is None


def test_the_picture_has_a_panel_for_every_data_set(tmp_path: Path) -> None:
    sizes = {}
    for count in (1, 4):
        sets = {f"set {number} <b>$x$": metrics({} if number % 2 else FULL) for number in range(count)}
        draw(compare({"now": sets, "before": {"set 0 <b>$x$": metrics(FULL)}}), tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            sizes[count] = picture.size
            colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
            assert (0, 114, 178) in colours  # the final method's blue
    assert sizes[4][0] > sizes[1][0] and sizes[4][1] > sizes[1][1]
