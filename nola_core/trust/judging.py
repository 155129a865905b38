"""An audit as it goes on: which image is next, and what was said about it."""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nola_core import inputs
from nola_core.errors import NolaError
from nola_core.evaluation import reported_split
from nola_core.files import read_table, sha256_file
from nola_core.lookup import dataset_folder
from nola_core.prediction import Predictions, matrix
from nola_core.trust.answers import (
    FOLDER,
    Answer,
    Progress,
    Sample,
    Verdict,
    append,
    images_of,
    merged,
    names_digest,
    population,
    read_answers,
    read_sample,
)
from nola_core.trust.audit import MIN_LABELS, Estimate, draw


@dataclass(frozen=True)
class Question:
    """An image to judge.

    Attributes:
        place: in the order, from 0.
        image_id: the image.
        options: the classes that the classifier holds most likely, at most five, in alphabetical order: nothing tells which one
            it chose, so that nobody just agrees with it.
    """

    place: int
    image_id: str
    options: tuple[str, ...]


@dataclass
class Judging:
    """One data set's audit.

    Attributes:
        folder: `data/<dataset>/audit`.
        progress: the sample and its answers so far.
        labels: how many are wanted.
        method: whose predictions are judged.
        classes: class name -> the name to show, in the order of the classes.
        predicted: per image of the split: `image_id` (index), `class_id, probability, top`.
        predictions: SHA-256 of predictions.parquet.
        told: images that corrections gave and the methods learnt; see `answers.measured`.
    """

    folder: Path
    progress: Progress
    labels: int
    method: str
    classes: dict[str, str]
    predicted: pd.DataFrame
    predictions: str
    told: frozenset[str] = frozenset()

    @property
    def judged(self) -> int:
        """Labels that count."""
        return sum(answer.verdict != "skip" for answer in self.progress.counted)

    @property
    def skipped(self) -> int:
        """Images that nobody can judge, among those that count."""
        return len(self.progress.counted) - self.judged

    @property
    def question(self) -> Question | None:
        """What comes next; None when there are enough labels or no more images."""
        place = self.progress.place
        if self.judged >= self.labels or place >= len(self.progress.order):
            return None
        return self.asked(place)

    def asked(self, place: int) -> Question:
        """The question about the image at a place of the order."""
        image_id = self.progress.order[place]
        names = list(self.classes)
        options = sorted((names[row] for row in self._shown(image_id)["top"]), key=lambda name: self.classes[name].casefold())
        return Question(place, image_id, tuple(options))

    def answer(self, image_id: str, verdict: Verdict, label: str | None = None) -> None:
        """Store an answer. It is on disk when this returns.

        Raises:
            NolaError: no such image or class.
        """
        self.answer_all([(image_id, verdict, label)])

    def answer_all(self, given: Sequence[tuple[str, Verdict, str | None]]) -> None:
        """Store several answers at once: image, verdict, class name."""
        stored = [self._answer(*one) for one in given]
        if stored:
            append(self.folder, stored)
            self.progress.answers.update({one.image_id: one for one in stored})

    def undo(self) -> None:
        """Take back the answer before the question."""
        if place := self.progress.place:
            self.answer(self.progress.order[place - 1], "withdrawn")

    @property
    def estimate(self) -> Estimate | None:
        """The accuracy by the labels so far; None if there are too few."""
        names = list(self.classes)
        wanted = {answer.image_id for answer in self.progress.counted}
        said = {one: names[self._shown(one)["class_id"]] for one in wanted}
        return self.progress.estimate({**said, **dict.fromkeys(self.told)})

    def _shown(self, image_id: str) -> dict[str, Any]:
        """The classifier's answer about an image: a row of `predicted`."""
        return {str(column): value for column, value in self.predicted.loc[[image_id]].iloc[0].items()}

    def _answer(self, image_id: str, verdict: Verdict, label: str | None) -> Answer:
        if image_id not in self.progress.images:
            raise NolaError(f"there is no image '{image_id}' in this audit.")
        if verdict == "class" and label not in self.classes:
            raise NolaError(f"there is no class '{label}'.")
        row = self._shown(image_id)
        names = list(self.classes)
        return Answer(
            image_id=image_id,
            sha256=self.progress.images[image_id],
            verdict=verdict,
            label=label if verdict == "class" else None,
            classes=names_digest(names),
            shown={
                "method": self.method,
                "class": names[int(row["class_id"])],
                "probability": round(float(row["probability"]), 6),
                "predictions": self.predictions,
            },
            plan=str(self.progress.sample.note["name"]),
            who=_user(),
            when=_now(),
        )


@contextmanager
def opened(root: Path, dataset: str, *, labels: int, new: bool = False, seed: int | None = None) -> Iterator[Judging]:
    """The audit of a data set, begun or continued; no other process can work on it meanwhile.

    Args:
        root: the project.
        dataset: a data set that has been run.
        labels: how many to collect, with those that are there.
        new: draw another sample. Answers about images that come up again are used again.
        seed: of the sample; drawn if None, and recorded.

    Raises:
        NolaError: nothing was predicted yet, too few labels are wanted, or another audit of the data set is in progress.
    """
    if labels < MIN_LABELS:
        raise NolaError(f"an interval needs at least {MIN_LABELS} labels; fifty are a good number.")
    folder = dataset_folder(root, dataset) / FOLDER
    folder.mkdir(exist_ok=True)
    with _alone(folder, dataset):
        yield _load(root, dataset, folder, labels=labels, new=new, seed=seed)


def _load(root: Path, dataset: str, folder: Path, *, labels: int, new: bool, seed: int | None) -> Judging:
    path = folder.parent / "predictions.parquet"
    method = str(inputs.read(root, dataset, "predict").values["final"])
    manifest = read_table(folder.parent / "manifest.parquet", ["image_id", "split", "sha256", "ok"])
    classes = read_table(folder.parent / "classes.parquet").sort_values("class_id")
    split = reported_split(manifest)
    table = Predictions.open(path).read(split, method, ["image_id", "class_id", "probability", "top_classes"])
    if table.empty:
        raise NolaError(f"{path} has no predictions by {method} of the split {split}; run `nola run --dataset {dataset}`.")
    predicted = table[["class_id", "probability"]].set_index(table["image_id"].astype(str))
    predicted["top"] = list(matrix(table["top_classes"]))
    corrections = inputs.read(root, dataset, "predict").values.get("corrections", {})
    answers = merged(read_answers(folder), corrections.get("merges", {}))
    told = frozenset(Predictions.open(path).given("train") if split == "train" else ())
    sample = None if new else read_sample(folder)
    images = population(images_of(manifest, split), told, sample=sample, answers=answers)
    if missing := set(images) - set(predicted.index):
        raise NolaError(f"{path} has no prediction for {len(missing):,} images; run `nola run --dataset {dataset}` first.")
    names = dict(zip(classes["name"].astype(str), classes["display_name"].astype(str), strict=True))
    sha256 = sha256_file(path)
    if sample is None:
        sample = _drawn(predicted.loc[list(images)], method=method, split=split, predictions=sha256, seed=seed)
        sample.write(folder)
    progress = Progress(sample, answers, images, list(names))
    return Judging(folder, progress, labels, method, names, predicted, sha256, told)


def _drawn(predicted: pd.DataFrame, *, method: str, split: str, predictions: str, seed: int | None) -> Sample:
    seed = secrets.randbits(48) if seed is None else seed
    plan = draw(predicted["probability"].to_numpy(dtype=np.float64), predicted["class_id"].to_numpy(dtype=np.int64), seed=seed)
    now = _now()
    note = {
        "name": f"{now.replace(':', '')}-{secrets.token_hex(2)}",
        "drawn": now,
        "seed": seed,
        "split": split,
        "method": method,
        "predictions": predictions,
    }
    return Sample(predicted.index.to_numpy()[plan.order], plan.stratum[plan.order], note)


@contextmanager
def _alone(folder: Path, dataset: str) -> Iterator[None]:
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise NolaError(f"another audit of {dataset} is open; finish or stop it first.") from None
    finally:
        os.close(descriptor)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name, as in some containers
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
