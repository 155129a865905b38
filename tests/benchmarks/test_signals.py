"""Pairs, intervals and survival on cells whose outcome is known; and one run on a made bed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import signals, signals_page
from tests.benchmarks.test_methods import made_bed


def cells() -> pd.DataFrame:
    """`confidence` is the accuracy, `snd` its opposite, `mano` a constant, the rest follow the order of the methods."""
    rows = []
    for dataset in ("digits", "caltech101", "cifar10", "whurs19-b32-b32"):
        for seed in range(6):
            order = ("templates", "evidence", "zlap") if seed % 2 else ("zlap", "evidence", "templates")
            for place, method in enumerate(order):
                top1 = 0.5 + 0.1 * place
                fixed = dict.fromkeys(signals_page.SIGNALS, {"templates": 0.1, "evidence": 0.2, "zlap": 0.3}[method])
                told = {"dataset": dataset, "variant": "whole", "seed": seed, "method": method, "top1": top1}
                rows.append({**told, **fixed, "confidence": top1 - 0.02, "snd": 1 - top1, "mano": 0.5})
    return pd.DataFrame(rows)


def test_a_signal_that_is_the_accuracy_survives_and_one_that_knows_the_methods_alone_does_not() -> None:
    told = signals_page.ranking(cells()).set_index("signal")
    assert told.loc["confidence", ["mean", "tau", "same_pair", "survives"]].tolist() == [100, 1, 100, "yes"]
    assert told.loc["snd", ["mean", "tau", "same_pair", "survives"]].tolist() == [0, -1, 0, "no"]
    assert told.loc["mano", ["mean", "same_pair", "survives"]].tolist() == [50, 50, "no"]
    assert told.loc["infomax", ["mean", "same_pair", "survives"]].tolist() == [50, 50, "no"]
    assert told.loc["confidence", "pick_over_templates"] == pytest.approx(10)  # it picks 0.7; templates has 0.5 or 0.7
    assert told.loc["confidence", "pick_over_evidence"] == pytest.approx(10)


def test_by_variant_a_row_has_every_collection() -> None:
    told = signals_page.by_variant(cells(), "confidence")
    assert told.to_numpy().tolist() == [["whole", 100, 100, 100, 100, 100]]


def test_errors_are_in_points_and_a_constant_guess_is_the_mean_elsewhere() -> None:
    told = signals_page.errors(cells()).set_index("signal")
    assert told.loc["confidence", "mean"] == pytest.approx(2) and told.index[0] == "confidence"
    assert told.loc[signals_page.CONSTANT, "mean"] == pytest.approx(200 / 30, abs=0.1)  # |.5-.6|, 0, |.7-.6|


def test_a_draw_of_a_made_bed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(signals, "METHODS", ("templates", "alignment", "evidence"))
    bed = made_bed()
    monkeypatch.setattr(signals.beds, "load", lambda name: bed)
    monkeypatch.setattr(signals, "SEEDS", (0,))
    file = tmp_path / "cells.csv"
    file.write_text(",".join([*signals.KEY, "method", "top1", *signals_page.SIGNALS]) + "\n")
    for _ in range(2):  # the second time nothing is left to do
        signals.task("digits", ["ten"], file)
    table = signals.read(file).set_index("method")
    assert table.index.tolist() == ["templates", "alignment", "evidence"]
    assert table[list(signals_page.RANKERS)].notna().all().all()
    assert (table[list(signals_page.SHARES)].drop(columns="gde") <= 1 + 1e-6).all().all()
    assert table["zero_shot_agreement"]["templates"] == 1 and 0.8 < table["gde"]["alignment"] <= 1
