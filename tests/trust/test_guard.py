"""The guard warns of the scores that fell, and of nothing else."""

from __future__ import annotations

import numpy as np
import torch

from nola_core.trust.guard import guard
from nola_core.trust.signals import Neighborhood
from nola_core.trust.variety import Variety

GOOD = {"answer_nuclear_norm": 0.8, "mean_prediction_entropy": 0.95, "neighbors_clip": 0.7, "neighbors_ssl": 0.9, "images": 50}


def test_it_warns_of_the_score_of_variety_that_fell_and_only_beyond_the_tolerance() -> None:
    assert guard(GOOD, GOOD, title="NoLA") is None
    assert guard(GOOD | {"answer_nuclear_norm": 0.9, "mean_prediction_entropy": 0.99}, GOOD, title="NoLA") is None
    assert guard(GOOD | {"answer_nuclear_norm": 0.795, "mean_prediction_entropy": 0.945}, GOOD, title="NoLA") is None
    collapsed = guard(GOOD | {"mean_prediction_entropy": 0.5}, GOOD, title="NoLA")
    assert collapsed is not None and "NoLA is worse" in collapsed and "entropy" in collapsed and "0.950 to 0.500" in collapsed
    assert "nuclear" not in collapsed
    narrower = guard(GOOD | {"answer_nuclear_norm": 0.7}, GOOD, title="Other")
    assert narrower is not None and "Other is worse" in narrower and "nuclear norm" in narrower and "entropy" not in narrower


def test_agreement_with_neighbours_must_fall_in_both_spaces() -> None:
    """The teacher reads SSL features and agrees better with neighbours there, whether or not it is more accurate."""
    assert guard(GOOD | {"neighbors_ssl": 0.7}, GOOD, title="NoLA") is None
    assert guard(GOOD | {"neighbors_clip": 0.6}, GOOD, title="NoLA") is None
    worse = guard(GOOD | {"neighbors_clip": 0.6, "neighbors_ssl": 0.7}, GOOD, title="NoLA")
    assert worse is not None and "CLIP's features fell from 0.700 to 0.600" in worse and "0.900 to 0.700" in worse
    assert guard({"answer_nuclear_norm": 0.8, "mean_prediction_entropy": 0.95, "images": 1}, GOOD, title="NoLA") is None


def test_a_student_of_one_class_is_caught_though_it_agrees_with_all_neighbours() -> None:
    features = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    told = []
    for answers in (np.arange(40) % 4 * (np.arange(40) > 3), np.zeros(40, dtype=np.int64)):
        variety = Variety()
        variety.add(torch.eye(4)[torch.from_numpy(answers)])
        agreed = Neighborhood(features).consistency(answers)
        told.append({**variety.result(), "neighbors_clip": agreed, "neighbors_ssl": agreed})
    teacher, student = told
    assert student["neighbors_clip"] == 1 > teacher["neighbors_clip"]
    assert "entropy of the mean prediction fell" in str(guard(student, teacher, title="NoLA"))
