"""The fitted temperature is the one that made the labels, and the shipped ones are those of the committed table."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from benchmarks import temperatures
from nola_core.backbones.pairs import PAIRS
from nola_core.schema import read_yaml


def test_labels_drawn_at_a_temperature_give_it_back() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(4000, 5, generator=draw)
    labels = torch.multinomial((logits / 2.5).softmax(dim=1), 1, generator=draw)[:, 0]
    assert temperatures.fitted(logits, labels) == pytest.approx(2.5, rel=0.05)
    assert temperatures.ece(logits, labels, 2.5) < temperatures.ece(logits, labels, 1.0) / 3


def test_pairs_yaml_has_the_temperatures_of_the_committed_table() -> None:
    table = pd.read_csv(temperatures.RESULTS / "temperatures.csv")
    shipped = {name: spec["temperature"] for name, spec in read_yaml(PAIRS)["clip"].items() if "temperature" in spec}
    assert shipped == table.groupby("model")["shipped"].first().to_dict()
