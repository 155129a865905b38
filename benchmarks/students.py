"""Students of `best`'s teacher on the beds that have images; see results/students-protocol.md.

    python -m benchmarks.students --choose      # the settings, on the train images of digits
    python -m benchmarks.students               # the table, on test images: about half an hour on two cores
    python -m benchmarks.students --page        # only write the page again

A cell that is in students.csv is not run again. Labels are for scoring alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from open_clip.transform import PreprocessCfg
from torch import Tensor

from benchmarks import beds
from benchmarks.methods import RESULTS, top1
from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.batches import image_batch, in_batches
from nola_core.datasets.opener import image_opener
from nola_core.errors import NolaError
from nola_core.extraction import loaded_batches
from nola_core.methods import evidence, registry
from nola_core.methods.collection import Space, probabilities
from nola_core.methods.method import Student, StudentMethod
from nola_core.prediction import TOP, top
from nola_core.students.images import Images
from nola_core.students.lesson import Lesson, TopClasses

CPU = torch.device("cpu")
LIMIT = {"caltech101": (400, 800), "cifar10": (400, 400)}
"""Train and test images of the photographs, for time."""
CHOICES: list[dict[str, Any]] = [
    {"batch_size": 64, "learning_rate": 0.001, "plain": 0},
    {"batch_size": 64, "learning_rate": 0.001, "plain": 0, "tune": ["tokens", "norms", "classifier"]},
    {"batch_size": 64, "learning_rate": 0.003, "plain": 0},
    {"batch_size": 64, "epochs": 5, "learning_rate": 0.001, "plain": 0},
    {"batch_size": 64, "epochs": 50, "learning_rate": 0.003, "plain": 0},
    {"batch_size": 64, "learning_rate": 0.003, "plain": 0.5},
    {"batch_size": 16, "learning_rate": 0.003, "plain": 0.5},
]
"""Settings of `soft` that were compared on the train images of digits; the last is the default."""
CELLS = [
    *(("digits", variant, 0, "soft") for variant in ("whole", "tail", "quarter", "three")),
    ("digits", "whole", 0, "nola"),
    ("cifar10", "whole", 0, "soft"),
]
COLUMNS = ["dataset", "variant", "seed", "method", "options", "images", "zero_shot", "teacher", "student", "seconds"]


def draw(name: str, variant: str, seed: int) -> beds.Draw:
    """A variant of a bed with the images that are used."""
    bed = beds.load(name)
    if name in LIMIT:
        parts = [
            part.taken(np.sort(np.random.default_rng(71).permutation(len(part.labels))[:most]))
            for part, most in zip(bed.split(seed), LIMIT[name], strict=True)
        ]
        bed = replace(bed, split=lambda _: (parts[0], parts[1]))
    return bed.draw(variant, seed)


def lesson(one: beds.Draw, clip: Clip, taught: Tensor) -> Lesson:
    """What a student learns from on a draw; `taught` [N, C] are the teacher's answers for its train images."""
    preprocess = PreprocessCfg(**clip.model.visual.preprocess_cfg)
    height, width = (preprocess.size, preprocess.size) if isinstance(preprocess.size, int) else preprocess.size
    assert one.train.ids is not None
    images = Images(
        ids=one.train.ids.tolist(),
        open=image_opener(beds.CACHE, one.bed.name),
        size=(height, width),
        mean=preprocess.mean,
        std=preprocess.std,
        weak=clip.image.preprocess,
    )
    return Lesson(
        images=images,
        teacher=_top(taught),
        classifier=one.bed.text.tensors()["weights"],
        zero_shot=_top(probabilities(one.bed.text, one.features("train"))),
        texts=one.bed.texts,
        features=Space(one.train.spaces["clip"]),
    )


def run(name: str, variant: str, seed: int, method: str, options: dict[str, Any], *, split: str = "test") -> dict[str, Any]:
    """Tune one student and score it, its teacher and zero-shot on `test`, or on the images it learnt from (`train`)."""
    one = draw(name, variant, seed)
    start = time.perf_counter()
    teacher = evidence.METHOD.fit(one.collection, options=evidence.METHOD.section(), seed=seed)
    clip = load_clip(
        load_pair(yaml.safe_load((beds.CACHE / "data" / f"{name}.yaml").read_text())["backbones"]).clip, root=beds.CACHE
    )
    how = registry.find(method)
    assert isinstance(how, StudentMethod)
    given = lesson(one, clip, probabilities(teacher, one.features("train")))
    student, _ = how.tune(clip, given, options=how.section(**options), seed=seed, device=CPU)
    part = getattr(one, split)
    scores = {
        "zero_shot": top1(probabilities(one.bed.text, one.features(split)), part.labels),
        "teacher": top1(probabilities(teacher, one.features(split)), part.labels),
        "student": top1(answers(student, clip, name, part.ids), part.labels),
    }
    told = {"dataset": name, "variant": variant, "seed": seed, "method": method, "options": json.dumps(options, sort_keys=True)}
    return {**told, "images": len(one.train.labels), **scores, "seconds": round(time.perf_counter() - start)}


def answers(student: Student, clip: Clip, name: str, ids: np.ndarray) -> Tensor:
    """The student's probabilities for some images, [N, C]."""
    batches = [ids[start : start + 64].tolist() for start in range(0, len(ids), 64)]
    opened = image_opener(beds.CACHE, name)
    return torch.cat(
        [
            in_batches(student.predict, images, size=image_batch(CPU))
            for _, images in loaded_batches(batches, clip.image.preprocess, opened)
        ]
    )


def page(table: pd.DataFrame) -> str:
    """students.md."""
    soft = table[(table["method"] == "soft") & (table["options"] == "{}")].assign(
        difference=lambda rows: rows["student"] - rows["teacher"]
    )
    by_bed = soft.groupby("dataset")["difference"].mean()
    mean = by_bed.mean()
    verdict = "at least as accurate as its teacher" if mean >= 0 else "less accurate than its teacher"
    lines = [
        "# A student of `best`",
        "",
        "    python -m benchmarks.students",
        "",
        "Top-1 accuracy on test images in percent; the teacher is `evidence`. How this was done, and what was looked at for",
        "choosing: [students-protocol.md](students-protocol.md).",
        "",
        f"On the mean over {len(by_bed)} beds the student `soft` is {verdict}: {mean:+.1f} points ("
        + ", ".join(f"{name} {value:+.1f}" for name, value in by_bed.items())
        + ").",
        "That decides little: one seed, 400 test images of CIFAR-10 (ten images make 2.5 points), no Caltech101 although the",
        "protocol names it, and the default batch size was chosen after test figures of the digits had been seen. On the digits",
        "the student is behind.",
        "",
        "| collection | variant | student | options | train images | zero-shot | teacher | student | difference |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in table.to_dict("records")),
        "",
    ]
    return "\n".join(lines)


def _line(row: Mapping[Hashable, Any]) -> str:
    told = [row["dataset"], row["variant"], row["method"], row["options"].strip("{}") or "defaults", f"{row['images']:,}"]
    scores = [f"{row[name]:.1f}" for name in ("zero_shot", "teacher", "student")]
    return f"| {' | '.join([*told, *scores])} | {row['student'] - row['teacher']:+.1f} |"


def main() -> int:
    """Run what is missing, and write students.csv and students.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="the settings, on train images of digits")
    parser.add_argument("--beds", nargs="+", help="some beds alone")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    file = given.results / ("students-choice.csv" if given.choose else "students.csv")
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=COLUMNS)
    if given.choose:
        wanted = [("digits", "whole", 0, "soft", options) for options in CHOICES]
    else:
        wanted = [(*cell, {}) for cell in CELLS if given.beds is None or cell[0] in given.beds]
    there = set(beds.available(list(beds.PROJECTS)))
    for name, variant, seed, method, options in [] if given.page else wanted:
        key = (name, variant, seed, method, json.dumps(options, sort_keys=True))
        if name not in there or key in set(table[COLUMNS[:5]].itertuples(index=False, name=None)):
            continue
        row = run(name, variant, seed, method, options, split="train" if given.choose else "test")
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)[COLUMNS]
        table.to_csv(file, index=False)
        print(row, flush=True)
    if not given.choose:
        (given.results / "students.md").write_text(page(table))
    return 0


def _top(p: Tensor) -> TopClasses:
    best, classes = top(p, TOP)
    return TopClasses(classes.long(), best)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NolaError as error:
        sys.exit(f"error: {error}")
