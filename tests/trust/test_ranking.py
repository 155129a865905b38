"""What is shown is what survived the study, with its figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nola_core.trust.guard import CONSISTENCY
from nola_core.trust.ranking import RANKED, sentence

STUDY = Path(__file__).parents[2] / "benchmarks" / "results" / "signals.csv"


def test_what_is_shown_is_what_survived_the_study() -> None:
    table = pd.read_csv(STUDY).set_index("signal")
    assert set(RANKED) <= set(CONSISTENCY) & set(table.index[table["survives"] == "yes"])
    for name, share in RANKED.items():
        assert share == pytest.approx(table.loc[name, "mean"] / 100, abs=0.0051)
        assert table.loc[name, "mean"] > table.loc["order_elsewhere", "mean"] and table.loc[name, "same_pair"] > 50
        assert f"more accurate in {100 * share:.0f} % of pairs" in sentence(name)
