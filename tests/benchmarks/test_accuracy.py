"""The table of accuracies for a single seed, and the page written from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablations, accuracy
from nola_core.errors import NolaError


def digits(*seeds: int) -> pd.DataFrame:
    runs = {seed: {"zero_shot": 0.5, "alignment": 0.6 + seed / 100} for seed in seeds}
    runs[seeds[0]]["nola"] = 0.7
    return accuracy.summarise("digits", "demo", runs, 0.9)


def test_one_seed_has_no_deviation_and_several_have_the_sample_one() -> None:
    table = digits(1, 2, 3).set_index("method")
    assert table.loc["alignment", ["top1_mean", "top1_std", "gain_over_zero_shot", "gap_closed"]].tolist() == [62, 1, 12, 0.3]
    assert table.loc["zero_shot", "top1_std"] == 0
    assert table.loc["nola", "seeds"] == "1" and np.isnan(table.loc["nola", "top1_std"])
    assert digits(1)["top1_std"].isna().all()
    told = accuracy.summarise(
        "digits", "demo", {1: {"nola": 0.5}, 2: {"nola": 0.6}}, 0.9, errors={1: {"nola": 0.04}, 2: {"nola": 0.06}}
    )
    assert told.loc[0, "ece_mean"] == 5 and digits(1)["ece_mean"].isna().all()
    assert np.isnan(ablations.spread([0.7])["top1_std"]) and ablations.spread([0.6, 0.8])["top1_std"] == pytest.approx(0.02**0.5)


def test_every_method_of_a_run_has_its_row_and_gains_are_over_zero_shot_alone() -> None:
    table = accuracy.summarise("digits", "demo", {1: {"zero_shot": 0.5, "nearest": 0.7}}, 0.9).set_index("method")
    assert table.index.tolist() == ["zero_shot", "nearest", "linear_probe"]
    assert table.loc["nearest", ["top1_mean", "gain_over_zero_shot", "gap_closed"]].tolist() == [70, 20, 0.5]
    table = accuracy.summarise("digits", "demo", {1: {"cde": 0.6, "nearest": 0.7}}, 0.9).set_index("method")
    assert table.loc["nearest", "top1_mean"] == 70
    assert table[["gain_over_zero_shot", "gap_closed"]].isna().all(axis=None)


def test_a_run_without_students_has_all_other_methods(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("{datasets: [digits, pets], methods: [nola, cde, zero_shot], final: nola, select: {fraction: 0.3}}")
    params = accuracy.seed_params(tmp_path, "pets", 5, student=False, per_class=4)
    assert params == {
        "datasets": ["pets"], "seed": 5, "methods": ["cde", "zero_shot"], "final": "zero_shot",
        "select": {"fraction": 0.3, "max_per_class": 4, "min_per_class": 4},
    }  # fmt: skip
    assert accuracy.seed_params(tmp_path, "pets", 5, student=True, per_class=None)["final"] == "nola"
    path.write_text("{methods: [nola], final: nola}")
    with pytest.raises(NolaError, match=r"every method of params\.yaml is a student"):
        accuracy.seed_params(tmp_path, "pets", 5, student=False, per_class=None)


def test_writing_keeps_the_other_data_sets_with_their_notes_and_takes_back_a_deviation_of_one_seed(tmp_path: Path) -> None:
    accuracy.write(digits(1, 2, 3).assign(dataset="birds", top1_std=0.0), "a command", tmp_path, note="Measured in May.")
    accuracy.write(digits(4, 5), "another", tmp_path)
    table = pd.read_csv(tmp_path / "accuracy.csv", dtype={"seeds": str})
    assert table["dataset"].unique().tolist() == ["birds", "digits"]
    assert table["top1_std"].isna().tolist() == [" " not in seeds for seeds in table["seeds"]]
    page = (tmp_path / "accuracy.md").read_text()
    assert "    a command\n    another\n" in page and "- birds: Measured in May.\n" in page
    assert "| birds | nola | demo | 1 | 70.0 |  | 20.0 | 0.5 |  |" in page
    assert "| digits | zero_shot | demo | 4 5 | 50.0 | 0.0 | 0.0 | 0.0 |  |" in page
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_committed_page_is_made_of_the_committed_table(tmp_path: Path) -> None:
    for name in ("accuracy.csv", "accuracy.json", "accuracy.md"):
        (tmp_path / name).write_text((accuracy.RESULTS / name).read_text())
    assert accuracy.main(["--page", "--results", str(tmp_path)]) == 0
    for name in ("accuracy.csv", "accuracy.json", "accuracy.md"):
        assert (tmp_path / name).read_text() == (accuracy.RESULTS / name).read_text(), name
    table = pd.read_csv(accuracy.RESULTS / "accuracy.csv", dtype={"seeds": str})
    assert table["top1_std"].isna().tolist() == [" " not in seeds for seeds in table["seeds"]]
