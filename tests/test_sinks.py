"""Files written piece by piece hold what one frame holds, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nola_core.errors import NolaError
from nola_core.sinks import opened

FIRST = pd.DataFrame(
    {
        "image": pd.Series(["a.jpg", "=cmd()"], dtype="str"),
        "probability": np.array([0.25, np.nan], dtype="float32"),
        "reason": pd.Series([None, None], dtype="str"),
    }
)
SECOND = FIRST.assign(reason=pd.Series(["is\rempty", None], dtype="str"))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_pieces_come_back_as_one_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    with opened(path) as write:
        write(FIRST)
        write(SECOND)
    if suffix == "parquet":
        back = pd.read_parquet(path)
    elif suffix == "csv":
        back = pd.read_csv(path)
    else:
        back = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    assert list(back.columns) == ["image", "probability", "reason"] and len(back) == 4
    assert back["probability"].fillna(-1).tolist() == [0.25, -1, 0.25, -1]
    assert back["image"].tolist()[0] == "a.jpg"
    assert back["image"].tolist()[1] == ("'=cmd()" if suffix == "csv" else "=cmd()")
    assert back["reason"].tolist()[2] == ("is\\rempty" if suffix == "csv" else "is\rempty")
    assert back["reason"].isna().tolist() == [True, True, False, True]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), opened(path) as write:
        write(FIRST)
        raise RuntimeError
    assert path.read_text() == "old" and [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_the_name_must_tell_the_format(tmp_path: Path) -> None:
    with (
        pytest.raises(NolaError, match=r"out\.xls: the name must end in \.parquet, \.csv or \.jsonl"),
        opened(tmp_path / "out.xls"),
    ):
        pass
