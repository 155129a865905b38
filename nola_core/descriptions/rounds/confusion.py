"""Confusion-driven rounds: which classes CLIP hesitates between, and what to ask about them (FuDD, GTA-CLIP).

A round looks at the predictions of the class-description embedding for the unlabeled train images. Where the two most probable
classes of an image are less than `GAP` apart, CLIP hesitates between them. The pairs of classes with the most such images are
asked about from either side: what can be seen on A that cannot be seen on B, and the reverse. The answers join the descriptions
of the class they are about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.descriptions.texts.prompts import PromptSet, Question
from nola_core.descriptions.texts.table import class_ids
from nola_core.errors import NolaError
from nola_core.files import read_table, write_table

SCHEMA = pa.schema([
    ("round", pa.int32()), ("class", pa.string()), ("other", pa.string()), ("images", pa.int64()), ("prompt", pa.string()),
    ("text", pa.string()), ("provider", pa.string()), ("model", pa.string()),
])  # fmt: skip
GAP = 0.1  # first minus second probability below which CLIP hesitates about an image (FuDD)
Answer = Callable[[Sequence[Question]], Sequence[Sequence[str]]]
"""Questions -> for each, in order, the texts that answer it."""


def confused_pairs(predictions: pd.DataFrame, *, gap: float = GAP) -> pd.DataFrame:
    """The pairs of classes that are the two most probable ones of images whose `margin` is below `gap`.

    From rows of one method (`margin, top_classes`): `class_id, other_id, images` with class_id < other_id, most images first,
    then by class ids.
    """
    first = predictions.loc[predictions["margin"] < gap, "top_classes"]
    pairs = pd.DataFrame([sorted(top[:2]) for top in first], columns=["class_id", "other_id"], dtype="int64")
    table = pairs.groupby(["class_id", "other_id"]).size().reset_index(name="images")
    return table.sort_values("images", ascending=False, kind="stable", ignore_index=True)


def ask(pairs: pd.DataFrame, classes: pd.DataFrame, answer: Answer, *, prompt_set: PromptSet, number: int) -> pd.DataFrame:
    """Ask what tells the classes of each pair (see `confused_pairs`) apart, from either side: the rows of round `number`.

    The prompt set is one with `pairs: true`. Who answered (`provider`, `model`) is left to the caller.

    Raises:
        NolaError: the prompt set asks about one class, or `answer` gives another number of answers than it got questions.
    """
    if not prompt_set.pairs:
        raise NolaError(f"prompt set '{prompt_set.name}' asks about one class; refine needs one with `pairs: true`.")
    shown = classes.set_index("class_id")[["name", "display_name"]].astype(str)
    asked = []
    for class_id, other_id, images in pairs.itertuples(index=False):
        for mine, other in ((shown.loc[class_id], shown.loc[other_id]), (shown.loc[other_id], shown.loc[class_id])):
            made = prompt_set.ask(mine["name"], c=mine["display_name"], c2=other["display_name"])
            asked += [(question, other["name"], images) for question in made]
    answers = answer([question for question, _, _ in asked])
    if len(answers) != len(asked):
        raise NolaError(f"the {len(asked)} questions of round {number} got {len(answers)} answers; nothing of it was kept.")
    rows = [
        (number, question.class_name, other, images, question.prompt, text)
        for (question, other, images), texts in zip(asked, answers, strict=True)
        for text in dict.fromkeys(" ".join(text.split()) for text in texts)
        if text
    ]
    return pd.DataFrame(rows, columns=SCHEMA.names[:-2])


def not_asked(pairs: pd.DataFrame, classes: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """The pairs that no earlier round got an answer about."""
    known = set(map(frozenset, zip(class_ids(rounds["class"], classes), class_ids(rounds["other"], classes), strict=True)))
    fresh = [frozenset(pair) not in known for pair in zip(pairs["class_id"], pairs["other_id"], strict=True)]
    return pairs[np.array(fresh, dtype=bool)]


def read_rounds(folder: Path, *, rounds: int) -> pd.DataFrame:
    """The answers of the rounds 1 to `rounds` that have been run; columns of `SCHEMA`."""
    parts = [read_table(path) for path in sorted(folder.glob("round-*.parquet"))]
    table = pd.concat(parts, ignore_index=True) if parts else SCHEMA.empty_table().to_pandas()
    return table[table["round"] <= rounds]


def write_round(folder: Path, number: int, rows: pd.DataFrame) -> None:
    """Keep one round's answers: `responses/_rounds/round-01.parquet`."""
    write_table(folder / f"round-{number:02d}.parquet", rows, SCHEMA)


def add_rounds(described: pd.DataFrame, rounds: pd.DataFrame, classes: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The descriptions (`table.SCHEMA`) with the rounds' answers after each class's own; the classes no longer on the list."""
    found = rounds.assign(class_id=class_ids(rounds["class"], classes))
    known = found.dropna(subset="class_id").astype({"class_id": int})
    names = dict(zip(classes["class_id"], classes["name"], strict=True))
    added = known.assign(**{"class": known["class_id"].map(names)})[described.columns]
    table = pd.concat([described, added], ignore_index=True) if len(added) else described
    table = table.drop_duplicates(["class_id", "text"]).sort_values("class_id", kind="stable", ignore_index=True)
    return table, sorted(set(found.loc[found["class_id"].isna(), "class"]))
