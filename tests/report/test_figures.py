"""What the figures select and compute before they draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from sklearn.metrics import confusion_matrix

from nola_core.methods.method import InForce, Listed
from nola_core.report import figures
from nola_core.report.samples import choose, choose_classes, judged
from nola_core.report.style import KNOWN, PALETTE, looks, save
from tests.report.example import LADDER, in_force_of

LOOKS = looks(LADDER)


def rectangles(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_confusion_counts_equal_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    names = ["b", "a", "nan", "c"]
    table = pd.DataFrame({"actual": generator.choice(names, 50), "predicted": generator.choice(names, 50)})
    expected = confusion_matrix(table["actual"], table["predicted"], labels=names)
    assert (figures.confusion_counts(table, names) == expected).all()


def test_most_confused_classes() -> None:
    counts = np.diag([9, 9, 9, 9])
    counts[3, 1] = 4
    counts[0, 1] = 1
    assert figures.most_confused(counts, 2).tolist() == [1, 3]


def test_a_confusion_of_a_thousand_classes_shows_the_worst_and_one_column_of_others(tmp_path: Path) -> None:
    counts = 10 * np.eye(1000, dtype=int)
    counts[500, 7] = 30  # 500 is taken for 7
    counts[501, 502:506] = 5
    figure = figures.confusion(counts, [f"class {i} costs ${i}$" for i in range(1000)], "NoLA")
    axes = figure.axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert len(rows) == 25
    assert columns == [*rows, "any other"]
    assert {"class 500 costs $500$", "class 7 costs $7$", "class 501 costs $501$"} <= set(rows)
    shown = np.asarray(axes.images[0].get_array())
    assert shown.sum(axis=1) == pytest.approx(np.ones(25))
    assert shown[rows.index("class 500 costs $500$"), rows.index("class 7 costs $7$")] == pytest.approx(0.75)
    assert save(figure, tmp_path / "confusion.png").stat().st_size < 300_000


def test_class_change_is_sorted_and_leaves_out_classes_without_images() -> None:
    table = pd.DataFrame(
        {
            "class": ["cat", "dog", "owl", "elk"] * 2,
            "method": ["zero_shot"] * 4 + ["nola"] * 4,
            "images": [5, 5, 5, 0] * 2,
            "accuracy": [0.5, 0.5, 0.5, np.nan, 0.4, 0.9, 0.5, np.nan],
        }
    )
    axes = figures.class_change(table, "zero_shot", "nola", looks=LOOKS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "owl", "dog"]
    assert [patch.get_width() for patch in rectangles(axes)] == pytest.approx([-0.1, 0, 0.4])


def test_a_class_that_did_not_change_is_no_bar_in_a_readable_scale() -> None:
    table = pd.DataFrame({"class": ["cat"] * 2, "method": ["zero_shot", "nola"], "images": 5, "accuracy": 0.5})
    axes = figures.class_change(table, "zero_shot", "nola", looks=LOOKS).axes[0]
    marks = [axes.xaxis.get_major_formatter()(value) for value in axes.get_xticks()]
    assert len(set(marks)) == len(marks) > 2


def test_each_student_has_its_curve_and_several_have_a_legend() -> None:
    students = in_force_of("nearest", "nola", final="nola")
    curve = pd.DataFrame({"epoch": [1, 2] * 2, "loss": [3.0, 2.0, 5.0, 4.0], "teacher_agreement": 0.5})
    curve["method"] = ["nola"] * 2 + ["nearest"] * 2
    figure = figures.tuning(curve, looks=looks(students))
    drawn = {line.get_label(): (list(line.get_ydata()), line.get_color()) for line in figure.axes[0].lines}
    assert drawn == {"Nearest <k>": ([5, 4], PALETTE[0]), "NoLA": ([3, 2], KNOWN["nola"])}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Nearest <k>", "NoLA"]
    assert figures.tuning(curve[curve["method"] == "nola"], looks=looks(students)).legends == []


def test_colours_are_distinct_while_they_last_and_those_of_the_ladder_never_change() -> None:
    def many(count: int) -> InForce:
        other = tuple(Listed(f"m{number}", f"M {number}", "", "text") for number in range(count))
        return InForce((*other, *LADDER.methods), "cde", "alignment", "nola")

    colours = [look.colour for look in looks(many(len(PALETTE))).values()]
    assert len(set(colours)) == len(colours)
    again = looks(many(20))
    assert {name: again[name].colour for name in LADDER.names} == {name: KNOWN[name] for name in LADDER.names}
    assert again["m0"].colour == again[f"m{len(PALETTE)}"].colour


def test_histogram_counts_every_candidate_once() -> None:
    table = pd.DataFrame(
        {
            "confidence": [0.0, 0.3, 0.9, 1.0],
            "selected": [False, True, True, True],
            "right": pd.array([True, False, None, True], dtype="boolean"),
        }
    )
    left, right = figures.confidence(table).axes
    assert sum(patch.get_height() for patch in rectangles(left)) == 4
    assert sum(patch.get_height() for patch in rectangles(right)) == 3
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "right (2)",
        "wrong (1)",
        "truth not known (1)",
    ]


def candidates(right: list[bool | None]) -> pd.DataFrame:
    """One class's candidates; the last one is not selected."""
    ids = [f"i{n}" for n in range(len(right))]
    table = pd.DataFrame({"image_id": ids, "class_id": 0, "confidence": 0.5, "rank": range(1, len(right) + 1)})
    table["selected"] = [*([True] * (len(right) - 1)), False]
    truth = pd.Series({i: 0 if kind else 1 for i, kind in zip(ids, right, strict=True) if kind is not None}, dtype="int64")
    return judged(table, truth)


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=30), st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_samples_are_as_many_as_possible_and_half_of_them_may_be_wrong(right: list[bool | None], count: int) -> None:
    table = candidates(right)
    shown = choose(table, count)
    selected = right[:-1]
    wrong = sum(kind is False for kind in selected)
    assert len(shown) == min(count, len(selected))
    assert shown["selected"].all()
    assert shown["image_id"].is_unique
    marks = [kind is not None and not kind for kind in shown["right"].astype(object).where(shown["right"].notna(), None)]
    assert marks == sorted(marks)  # the wrong ones come last
    if sum(marks) > count // 2:
        assert len(marks) - sum(marks) == len(selected) - wrong, "more than half only where the others leave room"
    if sum(marks) < wrong:
        assert sum(marks) >= count // 2, "fewer than there are only beyond half"
    for kind in (True, False):
        ranks = [rank for rank, mark in zip(shown["rank"], marks, strict=True) if mark is kind]
        possible = [rank for rank, mark in enumerate(selected, start=1) if (mark is False) is kind]
        assert ranks == sorted(ranks)
        if len(ranks) > 1:
            assert (ranks[0], ranks[-1]) == (possible[0], possible[-1]), "from the most to the least confident"


def test_judged_knows_right_wrong_and_unknown() -> None:
    table = candidates([True, False, None, True])
    assert table["right"].astype(object).where(table["right"].notna(), None).tolist() == [True, False, None, True]
    assert table["actual"].astype(object).where(table["actual"].notna(), None).tolist() == [0, 1, None, 0]


def test_shown_classes_run_from_the_worst_to_the_best() -> None:
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(9)], "class_id": range(9), "confidence": 0.5, "rank": 1})
    table["selected"] = True
    truth = pd.Series({f"i{n}": n if n >= 3 else 8 for n in range(9)})
    table["confidence"] = [0.3, 0.1, 0.2, 0.4, 0.5, 0.9, 0.6, 0.7, 0.8]
    assert choose_classes(judged(table, truth), 9, 9) == list(range(9))
    assert choose_classes(judged(table, truth), 9, 3) == [1, 4, 5]
    assert choose_classes(judged(table, truth.iloc[:0]), 9, 2) == [1, 5]
