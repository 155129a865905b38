"""What counts of the answers on disk, and that the rules keep the interval valid when the classifier or the images change."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nola_core.errors import NolaError
from nola_core.files import write_table
from nola_core.methods.method import InForce, Listed
from nola_core.prediction import GIVEN_SCHEMA, Predictions, with_given
from nola_core.trust.answers import (
    ANSWERS,
    Answer,
    Progress,
    Sample,
    append,
    measured,
    merged,
    names_digest,
    read_answers,
    read_sample,
)
from nola_core.trust.audit import MIN_LABELS, draw
from nola_core.trust.judging import Judging, opened
from tests.trust.example import rename, write_predicted

NAMES = ("a", "b")
SAMPLE = {"name": "first", "method": "evidence"}


def answer(image_id: str, label: str | None = "a", *, plan: str = "first", sha256: str = "0") -> Answer:
    verdict = "class" if label else "none"
    return Answer(image_id, sha256, verdict, label, names_digest(NAMES), {}, plan, "me", "2026-11-29T00:00:00Z")  # type: ignore[arg-type]


def progress(answers: list[Answer], *, images: int = 20) -> Progress:
    ids = [f"{number}" for number in range(images)]
    sample = Sample(np.array(ids, dtype=object), np.zeros(images, dtype=int), SAMPLE)
    return Progress(sample, {one.image_id: one for one in answers}, dict.fromkeys(ids, "0"), NAMES)


def test_only_a_beginning_of_the_order_counts() -> None:
    found = progress([answer("0"), answer("1"), answer("3")])
    assert found.place == 2 and [one.image_id for one in found.counted] == ["0", "1"]


def test_answers_of_an_earlier_sample_count_between_those_of_this_one_but_not_at_the_end() -> None:
    """Otherwise the sample would end where, by chance, images without an old answer begin."""
    old = [answer(str(number), plan="earlier") for number in (1, 3)]
    assert [one.image_id for one in progress([answer("0"), *old, answer("2")]).counted] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "stale",
    [
        answer("1", sha256="another file"),
        answer("1", "a class that was renamed"),
        replace(answer("1", None), classes=names_digest(["a"])),
        replace(answer("1"), verdict="withdrawn"),
    ],
)
def test_an_answer_that_holds_no_more_is_asked_for_again(stale: Answer) -> None:
    assert progress([answer("0"), stale]).place == 1
    assert progress([answer("0"), answer("1", None)]).place == 2


def test_what_was_written_is_read_and_half_a_line_is_not(tmp_path: Path) -> None:
    append(tmp_path, [answer("0"), answer("\u202e\U0001f426\n")])
    with (tmp_path / ANSWERS).open("a") as file:
        file.write(answer("2").line()[:30])
    assert list(read_answers(tmp_path)) == ["0", "\u202e\U0001f426\n"]
    append(tmp_path, [answer("0", "b")])
    assert [one.label for one in read_answers(tmp_path).values()] == ["b", "a"]
    assert len((tmp_path / ANSWERS).read_bytes().splitlines()) == 3


@pytest.mark.parametrize("line", ["{", "[]", '{"image_id": 3}', "\xff", json.dumps({**vars(answer("0")), "verdict": "maybe"})])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    append(tmp_path, [answer("0")])
    with (tmp_path / ANSWERS).open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(NolaError, match=r"answers\.jsonl, line 2, is no answer of an audit"):
        read_answers(tmp_path)


def judge(judging: Judging, truth: Mapping[str, str], count: int = 1000) -> None:
    """Answer as somebody who knows."""
    while count and (question := judging.question) is not None:
        judging.answer(question.image_id, "class", truth[question.image_id])
        count -= 1


def test_an_audit_goes_on_with_the_same_sample_and_a_new_one_uses_old_answers(tmp_path: Path) -> None:
    truth = write_predicted(tmp_path, images=40)
    with opened(tmp_path, "toy", labels=20) as first:
        judge(first, truth, 12)
        with pytest.raises(NolaError, match="another audit of toy is open"), opened(tmp_path, "toy", labels=20):
            pass
    write_predicted(tmp_path, images=40, seed=3)  # the classifier was trained again
    with opened(tmp_path, "toy", labels=20) as second:
        assert second.progress.order == first.progress.order and second.judged == 12
        assert second.progress.sample.note["predictions"] != second.predictions
        judge(second, truth)
        assert second.judged == 20 and second.question is None
    with opened(tmp_path, "toy", labels=40, new=True) as third:
        assert third.progress.order != first.progress.order
        before = len(read_answers(third.folder))
        judge(third, truth)
        lines = (third.folder / ANSWERS).read_text().splitlines()
        assert before == 20 and len(lines) == 40 and third.judged == 40
        figure = third.estimate
        right = [truth[one] == list(third.classes)[third.predicted.at[one, "class_id"]] for one in truth]
        assert figure is not None and figure.low == figure.high == pytest.approx(np.mean(right))
    assert len(list(third.folder.glob("plan-*.parquet"))) == 1


def test_fewer_labels_than_an_interval_needs_are_refused(tmp_path: Path) -> None:
    write_predicted(tmp_path, images=20)
    with pytest.raises(NolaError, match=f"at least {MIN_LABELS} labels"), opened(tmp_path, "toy", labels=5):
        pass


def test_newcomers_are_counted_and_those_that_left_are_not_asked_about(tmp_path: Path) -> None:
    truth = write_predicted(tmp_path, images=40)
    with opened(tmp_path, "toy", labels=20) as judging:
        judge(judging, truth)
        gone = judging.progress.order[3]
    manifest = tmp_path / "data" / "toy" / "manifest.parquet"
    table = pd.read_parquet(manifest)
    table.loc[table["image_id"] == gone, "ok"] = False
    table.to_parquet(manifest)
    with opened(tmp_path, "toy", labels=20) as judging:
        assert judging.judged == 19 and gone not in judging.progress.order
    sample = read_sample(judging.folder)
    assert sample is not None
    fewer = replace(judging.progress, sample=Sample(sample.image_ids[:-4], sample.strata[:-4], sample.note))
    assert fewer.newcomers == 4


def test_a_renamed_class_is_asked_about_again(tmp_path: Path) -> None:
    truth = write_predicted(tmp_path, images=40, classes=("left", "right"))
    with opened(tmp_path, "toy", labels=20) as judging:
        judge(judging, truth)
        first = next(place for place, one in enumerate(judging.progress.order) if truth[one] == "right")
    rename(tmp_path, "left", "starboard")
    with opened(tmp_path, "toy", labels=20) as judging:
        assert judging.question is not None and judging.question.place == first


def test_corrected_images_leave_the_audit_but_not_those_that_were_found_wrong(tmp_path: Path) -> None:
    """Correcting every error that the audit has shown makes its figure no higher."""
    truth = write_predicted(tmp_path, images=60)
    with opened(tmp_path, "toy", labels=30) as judging:
        judge(judging, truth)
        before, order = judging.estimate, judging.progress.order
    names = list(judging.classes)
    predicted = {one: names[judging.predicted.at[one, "class_id"]] for one in order}
    wrong = [one for one in order[:30] if predicted[one] != truth[one]]
    later = [one for one in order[30:] if predicted[one] != truth[one]][:3]
    path = tmp_path / "data" / "toy" / "predictions.parquet"
    given = {one: names.index(truth[one]) for one in [*wrong, *later]}
    table = with_given(pq.read_table(path), given).to_pandas()
    table["class_id"] = table["image_id"].map(given).fillna(table["class_id"]).astype("int32")  # it has learnt them
    write_table(path, table, GIVEN_SCHEMA)
    with opened(tmp_path, "toy", labels=30) as judging:
        after = judging.estimate
        assert before is not None and after is not None and wrong and later
        assert len(judging.progress.order) == 60 - len(later) and after.labels == 30
        assert after.accuracy == pytest.approx(before.accuracy, abs=0.02)  # but for the sizes of the strata
    manifest, classes = (pd.read_parquet(path.with_name(f"{name}.parquet")) for name in ("manifest", "classes"))
    in_force = InForce((Listed("evidence", "evidence", "", "features"),), "zero_shot", "evidence", "evidence")
    found = measured(judging.folder, manifest, classes, Predictions.open(path), in_force)
    assert found is not None and found["accuracy"] == after.accuracy and found["images"] == 60 - len(later)
    with opened(tmp_path, "toy", labels=30, new=True) as judging:
        assert not set(given) & set(judging.progress.order) and judging.progress.newcomers == 0


def test_answers_follow_a_merge() -> None:
    found = merged({"0": answer("0", "a"), "1": answer("1", "b"), "2": answer("2", None)}, {"a": "b"})
    assert [one.label for one in found.values()] == ["b", "b", None]


COUNT, CLASSES = 900, 5


def simulated(audit: Callable[[np.random.Generator, int], bool], times: int = 200) -> float:
    """How often an audit's interval holds the accuracy; of 200 that hold with 95 %, fewer than 91 % do so once in 200 times."""
    return float(np.mean([audit(np.random.default_rng(seed), seed) for seed in range(times)]))


RNG = np.random.default_rng(9)
OLD = RNG.beta(4, 1.5, COUNT)
NEW = np.clip(OLD + RNG.normal(0, 0.35, COUNT), 0.02, 0.98)
"""Confidences of two classifiers that are alike, but not much."""
RIGHT = RNG.random(COUNT) < NEW
IDS = np.array([f"{number}" for number in range(COUNT)], dtype=object)
PREDICTED = dict.fromkeys(IDS, "a")
GROUPS = RNG.integers(CLASSES, size=COUNT)


def sample_of(confidence: np.ndarray, seed: int, name: str) -> Sample:
    plan = draw(confidence, GROUPS, seed=seed)
    return Sample(IDS[plan.order], plan.stratum[plan.order], {"name": name, "method": "m"})


def said(image_id: str, plan: str) -> Answer:
    return answer(image_id, "a" if RIGHT[int(image_id)] else "b", plan=plan)


def holds(found: Progress, images: np.ndarray) -> bool:
    figure = found.estimate(PREDICTED)
    return figure is not None and figure.low <= RIGHT[images].mean() <= figure.high


def test_a_sample_drawn_for_another_classifier_judges_this_one() -> None:
    def audit(rng: np.random.Generator, seed: int) -> bool:
        sample = sample_of(OLD, seed, "first")
        answers = {one: said(one, "first") for one in sample.image_ids[:50]}
        return holds(Progress(sample, answers, dict.fromkeys(IDS, "0"), NAMES), np.arange(COUNT))

    assert simulated(audit) >= 0.91


def test_a_sample_judges_the_images_that_are_left() -> None:
    left = np.flatnonzero(NEW > 0.4)  # whoever takes images away takes the doubtful ones

    def audit(rng: np.random.Generator, seed: int) -> bool:
        sample = sample_of(OLD, seed, "first")
        answers = {one: said(one, "first") for one in sample.image_ids[:70]}
        return holds(Progress(sample, answers, dict.fromkeys(IDS[left], "0"), NAMES), left)

    assert simulated(audit) >= 0.91


def test_a_new_sample_with_the_answers_of_an_old_one_is_valid() -> None:
    """Half of all images, the doubtful ones among them, have an old answer."""

    def audit(rng: np.random.Generator, seed: int) -> bool:
        old = [one for one in IDS if rng.random() < (0.9 if OLD[int(one)] < 0.6 else 0.3)]
        sample = sample_of(NEW, seed, "second")
        answers = {one: said(one, "first") for one in old}
        found = Progress(sample, answers, dict.fromkeys(IDS, "0"), NAMES)
        while len(found.counted) < 40:
            one = found.order[found.place]
            answers[one] = said(one, "second")
        return holds(found, np.arange(COUNT))

    assert simulated(audit, times=100) >= 0.89
