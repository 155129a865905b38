"""Confused pairs from unlabeled predictions, questions about both sides, and answers that reach the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nola_core.descriptions.rounds.confusion import add_rounds, ask, confused_pairs, not_asked, read_rounds, write_round
from nola_core.descriptions.rounds.refine import refine
from nola_core.descriptions.texts.prompts import Question, load_prompt_set
from nola_core.errors import NolaError
from nola_core.files import read_table
from nola_core.stages.paths import Paths
from tests.project import change, run

CLASSES = pd.DataFrame({"class_id": [0, 1, 2], "name": ["cat", "sea_dog", "jeans"], "display_name": ["cat", "sea dog", "jeans"]})
PAIRS = load_prompt_set("confusion")


def predictions(*rows: tuple[float, list[int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["margin", "top_classes"])


def pairs(*rows: tuple[int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["class_id", "other_id", "images"])


def test_pairs_are_counted_in_either_order_below_the_gap() -> None:
    table = predictions(
        (0.05, [2, 0, 1]), (0.02, [0, 2, 1]), (0.09, [1, 0, 2]), (0.1, [1, 2, 0]), (0.9, [1, 2, 0]), (0, [1, 2, 0])
    )
    assert confused_pairs(table).to_numpy().tolist() == [[0, 2, 2], [0, 1, 1], [1, 2, 1]]
    assert confused_pairs(table, gap=0.03).to_numpy().tolist() == [[0, 2, 1], [1, 2, 1]]
    assert confused_pairs(predictions((0.5, [0, 1]))).empty


def test_both_sides_are_asked_and_answers_kept_with_their_pair() -> None:
    asked: list[Question] = []

    def answer(questions: Sequence[Question]) -> list[list[str]]:
        asked.extend(questions)
        return [["it  purrs", "it purrs"], [], ["two legs", " "], ["fur"]]

    rows = ask(pairs((0, 1, 9), (0, 2, 4)), CLASSES, answer, prompt_set=PAIRS, number=3)
    assert [question.class_name for question in asked] == ["cat", "sea_dog", "cat", "jeans"]
    assert "What can be seen on a cat that cannot be seen on a sea dog?" in asked[0].prompt
    assert "What can be seen on jeans that cannot be seen on a cat?" in asked[3].prompt
    assert rows[["round", "class", "other", "images", "text"]].to_numpy().tolist() == [
        [3, "cat", "sea_dog", 9, "it purrs"],
        [3, "cat", "jeans", 4, "two legs"],
        [3, "jeans", "cat", 4, "fur"],
    ]
    left = not_asked(pairs((0, 1, 1), (1, 2, 1)), CLASSES, rows)
    assert left.to_numpy().tolist() == [[1, 2, 1]]
    with pytest.raises(NolaError, match="the 2 questions of round 1 got 0 answers"):
        ask(pairs((0, 1, 1)), CLASSES, lambda _: [], prompt_set=PAIRS, number=1)
    with pytest.raises(NolaError, match="prompt set 'paper' asks about one class"):
        ask(pairs((0, 1, 1)), CLASSES, answer, prompt_set=load_prompt_set("paper"), number=1)


def test_rounds_are_read_up_to_the_limit_and_added_class_by_class(tmp_path: Path) -> None:
    for number, name in ((1, "cat"), (2, "jeans"), (3, "gone")):
        row = (number, name, "other", 1, "p", f"text {number}", "refine", "")
        columns = ["round", "class", "other", "images", "prompt", "text", "provider", "model"]
        write_round(tmp_path, number, pd.DataFrame([row], columns=columns))
    assert read_rounds(tmp_path, rounds=2)["text"].tolist() == ["text 1", "text 2"]
    assert read_rounds(tmp_path / "nowhere", rounds=5).empty
    columns = ["class_id", "class", "prompt", "text", "provider", "model"]
    described = pd.DataFrame([(0, "cat", "", "a", "", ""), (2, "jeans", "", "text 2", "", "")], columns=columns)
    table, gone = add_rounds(described, read_rounds(tmp_path, rounds=3), CLASSES)
    assert table[["class_id", "text"]].to_numpy().tolist() == [[0, "a"], [0, "text 1"], [2, "text 2"]]
    assert gone == ["gone"]


def test_rounds_about_a_renamed_class_are_kept_and_not_asked_again(tmp_path: Path) -> None:
    columns = ["round", "class", "other", "images", "prompt", "text", "provider", "model"]
    rounds = pd.DataFrame([(1, "sea dog", "cat", 1, "p", "swims", "refine", "")], columns=columns)
    described = pd.DataFrame([], columns=["class_id", "class", "prompt", "text", "provider", "model"])
    table, gone = add_rounds(described, rounds, CLASSES)  # whose class is sea_dog now
    assert table[["class_id", "class", "text"]].to_numpy().tolist() == [[1, "sea_dog", "swims"]] and gone == []
    assert not_asked(pairs((0, 1, 1), (1, 2, 1)), CLASSES, rounds).to_numpy().tolist() == [[1, 2, 1]]


def cde(root: Path) -> np.ndarray:
    table = read_table(root / "data" / "blobs" / "zero_shot.parquet")
    return table.loc[table["method"] == "cde", "probability"].to_numpy()


def test_rounds_reach_the_classifier_and_never_ask_twice(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, before, asked = Paths(project, "blobs"), cde(project), []

    def answer(questions: Sequence[Question]) -> list[list[str]]:
        asked.extend(question.prompt for question in questions)
        return [[f"a very {question.class_name} thing {len(asked)}"] for question in questions]

    def confuse() -> None:
        """Whatever this random CLIP says: let every image be between two classes, each pair in turn."""
        table = read_table(paths["zero_shot.parquet"])
        table["top_classes"] = [np.array([[0, 1], [1, 2], [2, 0]][row % 3], dtype=np.int32) for row in range(len(table))]
        table.to_parquet(paths["zero_shot.parquet"])

    for rounds in (1, 2):
        confuse()
        assert refine(paths, answer, rounds=rounds, pairs=1, gap=1) == 1
    assert len(asked) == len(set(asked)) == 4
    table = read_table(paths["descriptions.parquet"])
    assert table["text"].str.startswith("a very").sum() == 4 and (table["class_id"].diff().fillna(0) >= 0).all()
    assert np.abs(cde(project) - before).max() > 0
    assert "round 2: 2 answers about" in capsys.readouterr().out
    rounds = read_rounds(paths["responses"] / "_rounds", rounds=9)
    assert rounds["round"].tolist() == [1, 1, 2, 2] and (rounds["images"] > 0).all()

    assert refine(paths, answer, pairs=1, gap=1) == 0, "both rounds have been run"
    change(project / "params.yaml", "describe", "rounds", value=9)
    assert refine(paths, answer, pairs=9, gap=1) <= 1, "three pairs are all there are"
    assert "no pair of classes is left that shares an image less than 1 apart" in capsys.readouterr().out
    assert len(asked) == len(set(asked)) <= 6

    change(project / "params.yaml", "describe", "rounds", value=0)
    assert run(project, "describe") == 0 and run(project, "classify") == 0
    assert np.array_equal(cde(project), before), "without the rounds it is what it was"
