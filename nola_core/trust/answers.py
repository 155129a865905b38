"""What a person answered in an audit: `data/<dataset>/audit/`. It is truth, which `evaluate` alone reads.

    plan.parquet     the sample: the images in the order they are asked about, with their strata
    answers.jsonl    one line an answer, only ever appended to

Answers are about images, so they stay true whatever is trained later. The plan stays, too: within its strata it is a random
sample of the images, and it judges any classifier that was not chosen by these very answers. A plan drawn for another classifier
costs width, not validity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.errors import NolaError
from nola_core.evaluation import reported_split
from nola_core.files import digest, read_note, read_table, write_table
from nola_core.methods.method import InForce
from nola_core.prediction import Predictions
from nola_core.trust.audit import Estimate, Plan, estimate

FOLDER = "audit"
PLAN = "plan.parquet"
ANSWERS = "answers.jsonl"
PLAN_SCHEMA = pa.schema([("image_id", pa.string()), ("stratum", pa.int32())])

Verdict = Literal["class", "none", "skip", "withdrawn"]
"""It is of a class; it is of none of the classes; nobody can say; the answer before is taken back."""


@dataclass(frozen=True)
class Answer:
    """One line of answers.jsonl.

    Attributes:
        image_id: the image.
        sha256: of its file. An image that has another by now is asked about again.
        verdict: what was said.
        label: the name of the class, if it is of one.
        classes: digest of the class names. An image that is of none of them may be of one that came later.
        shown: what the classifier answered then: `method, class, probability, predictions` (SHA-256 of predictions.parquet).
        plan: the sample it was given for.
        who: the user's name on the machine.
        when: in UTC.
    """

    image_id: str
    sha256: str
    verdict: Verdict
    label: str | None
    classes: str
    shown: Mapping[str, Any]
    plan: str
    who: str
    when: str

    @classmethod
    def of(cls, line: str) -> Answer:
        """From a line.

        Raises:
            ValueError, TypeError: it is none.
        """
        answer = cls(**json.loads(line))
        texts = (
            answer.image_id,
            answer.sha256,
            answer.classes,
            answer.plan,
            *([answer.label] if answer.verdict == "class" else []),
        )
        if answer.verdict not in get_args(Verdict) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"verdict {answer.verdict!r}")
        return answer

    def line(self) -> str:
        """The line, without its end."""
        return json.dumps(asdict(self), ensure_ascii=True)


@dataclass(frozen=True)
class Sample:
    """The sample: which images are asked about, in which order.

    Attributes:
        image_ids: str [N], in order.
        strata: int [N].
        note: `name, drawn, seed, split, method, predictions`: when and for which classifier it was drawn.
    """

    image_ids: np.ndarray
    strata: np.ndarray
    note: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write plan.parquet; one that is there keeps its content under the name of its sample."""
        path = folder / PLAN
        if path.exists():
            path.rename(folder / f"plan-{_note(path)['name']}.parquet")
        frame = pd.DataFrame({"image_id": self.image_ids, "stratum": self.strata})
        write_table(path, frame, PLAN_SCHEMA, note=json.dumps(self.note))


def read_sample(folder: Path) -> Sample | None:
    """The sample of a data set's audit folder; None if none was drawn.

    Raises:
        NolaError: plan.parquet is damaged.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    table = read_table(path, PLAN_SCHEMA.names)
    return Sample(table["image_id"].to_numpy(), table["stratum"].to_numpy(), _note(path))


def read_answers(folder: Path) -> dict[str, Answer]:
    """Image id -> the last answer about it; empty without any.

    A last line without an end was being written when the machine stopped. It does not count.

    Raises:
        NolaError: another line is damaged.
    """
    path = folder / ANSWERS
    if not path.is_file():
        return {}
    found: dict[str, Answer] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            answer = Answer.of(line.decode("utf-8"))
        except (ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise NolaError(
                f"{path}, line {number}, is no answer of an audit ({reason}); restore it, or delete the line: the image is asked "
                "about again."
            ) from None
        found[answer.image_id] = answer
    return found


def append(folder: Path, answers: Sequence[Answer]) -> None:
    """Append answers to answers.jsonl. They are on disk when this returns."""
    path = folder / ANSWERS
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            if whole < end:
                file.truncate(whole)  # what a power cut has left of a line
        file.write("".join(f"{answer.line()}\n" for answer in answers).encode())
        file.flush()
        os.fsync(file.fileno())


def names_digest(names: Sequence[str]) -> str:
    """What `Answer.classes` is."""
    return digest(sorted(names))[:16]


@dataclass(frozen=True)
class Progress:
    """A sample with its answers, against the images and classes of today.

    Attributes:
        sample: the sample.
        answers: image id -> its last answer.
        images: image id -> SHA-256, of the readable images of the split.
        names: of the classes.
    """

    sample: Sample
    answers: dict[str, Answer]
    images: Mapping[str, str]
    names: Sequence[str]

    @cached_property
    def order(self) -> list[str]:
        """The images that are still there, in the order they are asked about."""
        return [str(one) for one in self.sample.image_ids if one in self.images]

    @cached_property
    def newcomers(self) -> int:
        """Images that came after the sample was drawn; the figures are not about them."""
        return len(self.images) - len(self.order)

    @cached_property
    def _digest(self) -> str:
        return names_digest(self.names)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    def decided(self, image_id: str) -> Answer | None:
        """The answer about an image, if it holds for the image and the classes of today."""
        answer = self.answers.get(image_id)
        if answer is None or answer.verdict == "withdrawn" or answer.sha256 != self.images[image_id]:
            return None
        if answer.verdict == "class" and answer.label not in self._known:
            return None
        return None if answer.verdict == "none" and answer.classes != self._digest else answer

    @property
    def place(self) -> int:
        """Of the first image in the order that is not decided; their number if all are."""
        return next((place for place, image_id in enumerate(self.order) if self.decided(image_id) is None), len(self.order))

    @property
    def counted(self) -> list[Answer]:
        """The answers that count: those before the first open image, without the answers of an earlier sample at their end.

        Where a person stops must not depend on which images happen to have an answer from before.
        """
        found = [answer for image_id in self.order[: self.place] if (answer := self.decided(image_id)) is not None]
        while found and found[-1].plan != self.sample.note["name"] and len(found) < len(self.order):
            found.pop()
        return found

    def estimate(self, predicted: Mapping[str, str | None], answers: Sequence[Answer] | None = None) -> Estimate | None:
        """The accuracy of a classifier; None with too few labels.

        Args:
            predicted: image id -> the name of the class it predicts; None counts as wrong.
            answers: those of `counted`, if they are known.
        """
        place_of = {image_id: place for place, image_id in enumerate(self.order)}
        counted = self.counted if answers is None else answers
        right = {
            place_of[answer.image_id]: answer.verdict == "class" and predicted[answer.image_id] == answer.label
            for answer in counted
            if answer.verdict != "skip"
        }
        strata = np.array(
            [stratum for stratum, one in zip(self.sample.strata, self.sample.image_ids, strict=True) if one in self.images]
        )
        return estimate(Plan(np.arange(len(strata)), strata), right)


def measured(
    folder: Path,
    manifest: pd.DataFrame,
    classes: pd.DataFrame,
    predictions: Predictions,
    in_force: InForce,
    *,
    merges: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """What metrics.json says of an audit; None without one, or with fewer than `MIN_LABELS` labels.

    Images that the methods were told the class of are no test of them; see `population`. One of those that was judged before
    counts as an error, so that no correction makes the figure higher.

    Args:
        folder: `data/<dataset>/audit`.
        manifest: `image_id, split, sha256, ok`.
        classes: `class_id, name`.
        predictions: of all methods in force.
        in_force: the methods.
        merges: class that is gone -> the class it is part of.

    Raises:
        NolaError: a file of the folder is damaged.
    """
    sample = read_sample(folder)
    if sample is None:
        return None
    split = reported_split(manifest)
    names = classes.sort_values("class_id")["name"].astype(str).to_numpy()
    answers, given = merged(read_answers(folder), merges or {}), predictions.given("train") if split == "train" else {}
    images = population(images_of(manifest, split), given, sample=sample, answers=answers)
    progress = Progress(sample, answers, images, list(names))
    counted = progress.counted
    asked = {answer.image_id for answer in counted}
    found = {}
    for method in in_force.names:
        table = predictions.read(split, method, ["image_id", "class_id"])
        table = table[table["image_id"].isin(asked)]
        predicted = dict(zip(table["image_id"], names[table["class_id"]], strict=True))
        found[method] = progress.estimate({**predicted, **dict.fromkeys(given)}, counted)
    final = found[in_force.final]
    if final is None:
        return None
    return {
        "method": in_force.final,
        **_interval(final),
        "level": 0.95,
        "labels": final.labels,
        "skipped": len(counted) - final.labels,
        "images": len(progress.order),
        "newcomers": progress.newcomers,
        "last": counted[-1].when,
        "drawn_for": sample.note["method"],
        "methods": {method: _interval(one) for method, one in found.items() if one is not None},
    }


def merged(answers: Mapping[str, Answer], merges: Mapping[str, str]) -> dict[str, Answer]:
    """Answers after classes became one.

    Args:
        merges: class that is gone -> the class it is part of.
    """
    return {image: replace(one, label=merges.get(str(one.label), one.label)) for image, one in answers.items()}


def population(
    images: Mapping[str, str], given: Collection[str], *, sample: Sample | None, answers: Mapping[str, Answer]
) -> dict[str, str]:
    """The images that an audit is about: all but those that corrections gave.

    One that is in the sample and was judged stays: leaving out what was found wrong would make the figure too high.

    Args:
        images: image id -> SHA-256.
        given: images that the methods were told the class of.
        sample: None if it is still to be drawn.
    """
    asked = set() if sample is None or not given else set(sample.image_ids)
    judged = {image for image, one in answers.items() if one.verdict != "withdrawn" and image in asked}
    return {image: sha256 for image, sha256 in images.items() if image not in given or image in judged}


def images_of(manifest: pd.DataFrame, split: str) -> dict[str, str]:
    """Image id -> SHA-256, of the readable images of a split."""
    usable = manifest[manifest["ok"].astype(bool) & (manifest["split"] == split)]
    return dict(zip(usable["image_id"].astype(str), usable["sha256"].astype(str), strict=True))


def _interval(found: Estimate) -> dict[str, float]:
    return {"accuracy": found.accuracy, "low": found.low, "high": found.high}


def _note(path: Path) -> dict[str, Any]:
    try:
        note = dict(json.loads(read_note(path)))
        if isinstance(note["name"], str) and isinstance(note["method"], str):
            return note
    except (ValueError, KeyError, TypeError, pa.ArrowInvalid):
        pass
    raise NolaError(f"{path} is no sample of an audit; restore it, or move it away: the next audit draws another.")
