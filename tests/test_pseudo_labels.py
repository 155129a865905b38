import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from nola_core.errors import NolaError
from nola_core.prediction import prediction_table
from nola_core.pseudo_labels import classes_without, per_class, select


def table(probabilities: list[list[float]]) -> pd.DataFrame:
    ids = [f"i{row}" for row in range(len(probabilities))]
    return prediction_table(ids, torch.tensor(probabilities), split="train", method="cde").to_pandas()


@pytest.mark.parametrize(
    ("images", "classes", "maximum", "k"),
    [(1297, 10, None, 25), (500, 10, None, 16), (1_281_167, 1000, None, 256), (50_000, 10, 512, 512)],
)
def test_k_is_the_papers(images: int, classes: int, maximum: int | None, k: int) -> None:
    assert per_class(images, classes, fraction=0.2, minimum=16, maximum=maximum) == k


def test_the_most_confident_of_each_class_are_selected_and_every_candidate_is_recorded() -> None:
    p = [[0.7, 0.2, 0.1], [0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
    chosen = select(table(p), ["a", "b", "c"], k=2, unpredicted="error")
    assert len(chosen) == 5
    assert chosen[chosen["selected"]][["class_id", "image_id"]].to_numpy().tolist() == [
        [0, "i1"],
        [0, "i0"],
        [1, "i3"],
        [2, "i4"],
    ]
    last = chosen[chosen["image_id"] == "i2"].iloc[0]
    assert (last["rank"], last["why"]) == (3, "not selected: first answer, beyond the first 2")
    assert last["margin"] == pytest.approx(0.1)


def test_a_class_that_is_nobodys_first_answer_takes_its_second_answers_then_its_third() -> None:
    p = [[0.6, 0.3, 0.1, 0.0], [0.7, 0.2, 0.1, 0.0], [0.8, 0.15, 0.05, 0.0], [0.5, 0.3, 0.2, 0.0], [0.9, 0.06, 0.04, 0.0]]
    chosen = select(table(p), ["a", "b", "c", "d"], k=1, unpredicted="skip").set_index("class_id")
    assert chosen.loc[0]["image_id"].tolist() == ["i4", "i2", "i1", "i0", "i3"]
    assert chosen.loc[1]["image_id"].tolist() == ["i0", "i3", "i1", "i2", "i4"]
    assert chosen.loc[1]["why"].iloc[0] == "selected: second answer (no image has it as first), among the 1 most confident"
    assert chosen.loc[1]["margin"].iloc[0] == pytest.approx(-0.3)
    assert chosen.loc[2]["why"].iloc[0] == "selected: third answer (no image has it as second), among the 1 most confident"
    assert chosen[chosen["selected"]]["image_id"].tolist() == ["i4", "i0", "i3"]
    assert 3 not in chosen.index


def test_given_images_come_first_beyond_the_k_and_are_candidates_of_no_other_class() -> None:
    p = [[0.7, 0.2, 0.1], [0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]
    chosen = select(table(p), ["a", "b", "c"], k=1, unpredicted="error", given={"i1": 1, "i4": -1, "i2": 2, "gone": 0})
    rows = chosen[chosen["selected"]][["class_id", "image_id", "rank"]]
    assert rows.to_numpy().tolist() == [[0, "i0", 1], [1, "i1", 1], [1, "i3", 2], [2, "i2", 1]]
    assert chosen["confidence"].tolist() == pytest.approx([0.7, 1, 0.8, 1])
    assert chosen.loc[chosen["image_id"] == "i1", "why"].tolist() == ["given: a correction"]
    assert not (chosen["image_id"] == "i4").any() and len(chosen) == len(rows)


def test_all_images_given_leaves_nothing_to_choose() -> None:
    chosen = select(table([[0.7, 0.3], [0.9, 0.1]]), ["a", "b"], k=1, unpredicted="error", given={"i0": 0, "i1": 1})
    assert chosen["image_id"].tolist() == ["i0", "i1"] and chosen["selected"].all()


def test_a_class_nobody_predicts_is_named() -> None:
    p = [[0.4, 0.3, 0.2, 0.1, 0.0]] * 4
    names = ["a", "b", "c", "dodo", "emu"]
    with pytest.raises(NolaError, match=r"no pseudo-label for 2 of 5 classes: 'dodo', 'emu'\. .* set select.unpredicted to skip"):
        select(table(p), names, k=1, unpredicted="error")
    assert classes_without(select(table(p), names, k=1, unpredicted="skip"), names) == ["dodo", "emu"]


def test_an_image_two_classes_want_goes_to_the_one_that_is_surer() -> None:
    p = [[0.6, 0.4, 0.0], [0.52, 0.3, 0.18], [0.51, 0.35, 0.14], [0.2, 0.1, 0.7]]
    chosen = select(table(p), ["a", "b", "c"], k=2, unpredicted="error")
    taken = chosen[chosen["selected"]].set_index("image_id")["class_id"].to_dict()
    assert taken == {"i0": 0, "i1": 0, "i2": 1, "i3": 2}
    lost = chosen[(chosen["class_id"] == 1) & (chosen["image_id"] == "i0")].iloc[0]
    assert lost["why"] == "not selected: another class has this image with higher confidence"


def test_a_class_that_would_lose_all_its_images_keeps_its_best_that_is_no_other_classs_best() -> None:
    """24 images, k = 16: two classes take all of them, and the third is the second answer for every one."""
    sure = np.linspace(0.9, 0.6, 12)
    p = [[s, 0.0, 1 - s] for s in sure] + [[0.0, s, 1 - s] for s in sure]
    chosen = select(table(p), ["a", "b", "c"], k=16, unpredicted="error")
    assert chosen[chosen["selected"]].groupby("class_id").size().tolist() == [11, 12, 1]
    kept = chosen[(chosen["class_id"] == 2) & chosen["selected"]].iloc[0]
    assert (kept["image_id"], kept["rank"]) == ("i11", 1)
    assert kept["why"] == "selected: second answer (no image has it as first), so that its class has one"
    left = chosen[(chosen["class_id"] == 0) & (chosen["image_id"] == "i11")].iloc[0]
    assert left["why"] == "not selected: left to a class that would have none"


def test_two_classes_that_would_be_empty_both_get_an_image_where_there_are_two() -> None:
    """c wants only what a holds as its best; a makes do with another of its own."""
    p = [[0.9, 0.0, 0.1, 0.0], [0.7, 0.3, 0.0, 0.0], [0.0, 0.9, 0.0, 0.1]]
    chosen = select(table(p), ["a", "b", "c", "d"], k=1, unpredicted="skip")
    assert chosen[chosen["selected"]].set_index("class_id")["image_id"].to_dict() == {0: "i1", 1: "i2", 2: "i0"}
    assert classes_without(chosen, ["a", "b", "c", "d"]) == ["d"], "its only image is the only one of b"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 30), st.integers(1, 8), st.floats(0, 6))
def test_as_many_classes_as_possible_have_a_pseudo_label_and_none_ends_empty_in_silence(
    seed: int, classes: int, images: int, k: int, bias: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, classes)) + bias * np.linspace(1, 0, classes)  # the last classes are nobody's first answer
    p = torch.from_numpy(logits).float().softmax(dim=1)
    names = [f"class {number}" for number in range(classes)]
    rows = prediction_table([f"i{r:03d}" for r in range(images)], p, split="train", method="cde").to_pandas()
    chosen = select(rows, names, k=k, unpredicted="skip")
    taken = chosen[chosen["selected"]]
    assert taken["image_id"].is_unique
    assert taken.groupby("class_id").size().max() <= k
    assert taken["why"].str.startswith("selected: ").all()
    assert chosen.loc[~chosen["selected"], "why"].str.startswith("not selected: ").all()

    edges = (chosen["class_id"], pd.factorize(chosen["image_id"])[0])
    possible = maximum_bipartite_matching(coo_array((np.ones(len(chosen)), edges)).tocsr(), perm_type="column")
    empty = classes_without(chosen, names)
    assert empty == [name for number, name in enumerate(names) if number not in set(taken["class_id"])]
    assert classes - len(empty) == (possible >= 0).sum(), "no choice gives more classes a pseudo-label"
    if empty:
        with pytest.raises(NolaError, match=f"'{empty[0]}'"):
            select(rows, names, k=k, unpredicted="error")
    else:
        pd.testing.assert_frame_equal(select(rows, names, k=k, unpredicted="error"), chosen)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(5, 60), st.integers(1, 8))
def test_selection_against_a_plain_loop(seed: int, classes: int, images: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), images).astype(np.float32)
    rows = prediction_table([f"i{r:03d}" for r in range(images)], torch.from_numpy(p), split="train", method="cde").to_pandas()
    chosen = select(rows, [str(c) for c in range(classes)], k=k, unpredicted="skip")
    expected: dict[str, tuple[float, int]] = {}
    order = np.argsort(-p, axis=1, kind="stable")
    for c in range(classes):
        for place in range(min(3, classes)):
            mine = sorted((-p[i, c], f"i{i:03d}") for i in range(images) if order[i, place] == c)
            if mine:
                for confidence, image_id in mine[:k]:
                    if image_id not in expected or -confidence > expected[image_id][0]:
                        expected[image_id] = (-confidence, c)
                break
    taken = chosen[chosen["selected"]]
    assume({c for _, c in expected.values()} == set(chosen["class_id"]))  # else a class keeps one: the test above
    assert {i: c for i, (_, c) in expected.items()} == dict(zip(taken["image_id"], taken["class_id"], strict=True))
    assert not chosen.duplicated(["image_id", "class_id"]).any()
    shuffled = select(rows.sample(frac=1, random_state=seed), [str(c) for c in range(classes)], k=k, unpredicted="skip")
    pd.testing.assert_frame_equal(chosen, shuffled)
