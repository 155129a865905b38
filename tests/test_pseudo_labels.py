import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.errors import NolaError
from nola_core.prediction import prediction_table
from nola_core.pseudo_labels import per_class, select


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
    p = [[0.6, 0.3, 0.1, 0.0], [0.7, 0.2, 0.1, 0.0], [0.8, 0.15, 0.05, 0.0]]
    chosen = select(table(p), ["a", "b", "c", "d"], k=1, unpredicted="skip").set_index("class_id")
    assert chosen.loc[1]["image_id"].tolist() == ["i0", "i1", "i2"]
    assert chosen.loc[1]["why"].iloc[0] == "selected: second answer (no image has it as first), among the 1 most confident"
    assert chosen.loc[1]["margin"].iloc[0] == pytest.approx(-0.3)
    assert chosen.loc[2]["why"].iloc[0].startswith("selected: third answer") or not chosen.loc[2]["selected"].iloc[0]
    assert 3 not in chosen.index


def test_a_class_nobody_predicts_is_named() -> None:
    p = [[0.4, 0.3, 0.2, 0.1, 0.0]] * 4
    with pytest.raises(NolaError, match=r"nobody predicts the class 'dodo', 'emu': .* set select.unpredicted to skip"):
        select(table(p), ["a", "b", "c", "dodo", "emu"], k=1, unpredicted="error")


def test_an_image_two_classes_want_goes_to_the_one_that_is_surer() -> None:
    chosen = select(table([[0.6, 0.4, 0.0], [0.2, 0.1, 0.7]]), ["a", "b", "c"], k=1, unpredicted="error")
    taken = chosen[chosen["selected"]]
    assert taken["image_id"].is_unique
    assert taken.set_index("image_id")["class_id"].to_dict() == {"i0": 0, "i1": 2}
    lost = chosen[(chosen["class_id"] == 1) & (chosen["image_id"] == "i0")].iloc[0]
    assert lost["why"] == "not selected: another class has this image with higher confidence"


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
    assert {i: c for i, (_, c) in expected.items()} == dict(zip(taken["image_id"], taken["class_id"], strict=True))
    assert not chosen.duplicated(["image_id", "class_id"]).any()
    shuffled = select(rows.sample(frac=1, random_state=seed), [str(c) for c in range(classes)], k=k, unpredicted="skip")
    pd.testing.assert_frame_equal(chosen, shuffled)
