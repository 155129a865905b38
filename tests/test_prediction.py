"""Prediction tables against a stable sort of whole rows, and read back a split and method at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core import prediction
from nola_core.errors import NolaError
from nola_core.files import PREDICTION_SCHEMA, table_writer
from nola_core.prediction import Predictions, chunks, matrix, predict, prediction_table, top


def sorted_whole(probabilities: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The slow oracle: a stable sort leaves equal values in the order of their columns."""
    values, columns = torch.sort(probabilities, dim=1, descending=True, stable=True)
    return values[:, :count], columns[:, :count].int()


@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(2, 12), st.integers(1, 6), st.sampled_from([1, 2, 4, 1000]))
@settings(max_examples=100, deadline=None)
def test_the_best_classes_are_those_of_a_stable_sort(seed: int, images: int, classes: int, count: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randint(0, levels + 1, (images, classes), generator=generator) / levels  # few levels: many ties, also at the edge
    for mine, slow in zip(top(p, count), sorted_whole(p, count), strict=True):
        assert mine.dtype == slow.dtype and mine.is_contiguous() and torch.equal(mine, slow)


def test_ties_hold_for_probabilities_too_small_to_tell_apart() -> None:
    p = torch.zeros(3, 1000)
    p[0, 7], p[1, 999], p[2, 500] = 1, 1, 1e-42  # a saturated classifier: all others underflow
    assert top(p, 5)[1].tolist() == [[7, 0, 1, 2, 3], [999, 0, 1, 2, 3], [500, 0, 1, 2, 3]]


def test_a_row_holds_the_best_five() -> None:
    p = torch.tensor([[0.1, 0.1, 0.4, 0.2, 0.1, 0.1], [0.5, 0.5, 0, 0, 0, 0]])
    table = prediction_table(pd.Series(["a", "b"]), p, split="test", method="cde")
    assert table.schema == PREDICTION_SCHEMA
    assert table.to_pylist()[0] == {
        "image_id": "a", "split": "test", "method": "cde", "class_id": 2, "probability": pytest.approx(0.4),
        "margin": pytest.approx(0.2), "top_classes": [2, 3, 0, 1, 4],
        "top_probabilities": pytest.approx([0.4, 0.2, 0.1, 0.1, 0.1]),
    }  # fmt: skip
    assert table["top_classes"].to_pylist()[1] == [0, 1, 2, 3, 4] and table["margin"].to_pylist()[1] == 0
    p[1, 3] = torch.nan
    with pytest.raises(NolaError, match="method cde gives NaN for image 'b'"):
        prediction_table(["a", "b"], p, split="test", method="cde")


def test_chunks_give_the_rows_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    p = torch.rand(700, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    ids = pd.Series([f"i{row}" for row in range(700)])
    monkeypatch.setattr(prediction, "CHUNK_CELLS", 6 * 300)
    assert list(chunks(700, 6)) == [(0, 300), (300, 600), (600, 700)]
    assert list(chunks(0, 6)) == []
    parts = list(predict(ids, lambda start, stop: p[start:stop], classes=6, split="val", method="m"))
    assert torch.equal(torch.cat([part for _, part in parts]), p)
    assert pa.concat_tables([table for table, _ in parts]).equals(prediction_table(ids, p, split="val", method="m"))


def write(path: Path) -> dict[tuple[str, str], pa.Table]:
    generator = torch.Generator().manual_seed(0)
    written = {}
    with table_writer(path, PREDICTION_SCHEMA) as append:
        for split, images in (("train", 30), ("test", 20)):
            for method in ("zero_shot", "cde"):
                p = torch.rand(images, 7, generator=generator).softmax(dim=1)
                table = prediction_table([f"{split}{row}" for row in range(images)], p, split=split, method=method)
                append(table.slice(0, 9))
                append(table.slice(9))
                written[split, method] = table
    return written


def test_a_table_is_read_by_split_and_method(tmp_path: Path) -> None:
    written = write(tmp_path / "p.parquet")
    whole = pq.read_table(tmp_path / "p.parquet").to_pandas()
    for predictions in (Predictions.open(tmp_path / "p.parquet"), Predictions.of(whole)):
        assert predictions.keys() == list(written)
        for (split, method), table in written.items():
            frame = predictions.read(split, method, ["image_id", "top_classes", "top_probabilities"])
            assert list(frame["image_id"]) == table["image_id"].to_pylist()
            for name, kind in (("top_classes", np.int32), ("top_probabilities", np.float32)):
                assert matrix(frame[name]).dtype == kind
                assert matrix(frame[name]).tolist() == table[name].to_pylist()
        both = predictions.read("test", None, ["method"])
        assert both["method"].tolist() == ["zero_shot"] * 20 + ["cde"] * 20
    assert matrix(whole["top_classes"][:3]).tolist() == [list(row) for row in whole["top_classes"][:3]]
    assert matrix(whole["top_classes"][:0]).shape == (0, 5)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(NolaError, match=r"p\.parquet does not exist: run the stage that writes it"):
        Predictions.open(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(NolaError, match=r"p\.parquet cannot be read as a Parquet table .* delete it and run its stage again"):
        Predictions.open(path)
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    with pytest.raises(NolaError, match=r"p\.parquet lacks the columns split, method, class_id, .*; delete it"):
        Predictions.open(path)
