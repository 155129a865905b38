"""`nola export --to ...`: where results and notices go, and words that do not go together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.exports.made import pets
from tests.flows.commands.conftest import Nola


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pets(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "photos" / "deep")  # a sub-folder of the project
    return tmp_path


def test_predictions_go_to_a_file_and_the_path_is_the_last_line(root: Path, nola: Nola) -> None:
    out, err = nola("export", "pets", "--to", "parquet", "-o", str(root / "out.parquet"), "--method", "zero_shot")
    assert out == f"{root / 'out.parquet'}\n" and "9 images" in err
    assert len(pd.read_parquet(root / "out.parquet")) == 9
    out, err = nola("export", "pets", "--to", "fiftyone", "-o", "links", "--link", "--quiet")
    assert out == "links\n" and "\n8 images" not in err
    assert all(path.is_symlink() and path.is_file() for path in Path("links").glob("*/data/*"))


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("pets", "-o", "x", "--method", "cde"), 1, "--method is for predictions; say which with --to"),
        (("pets", "-o", "x", "--link"), 1, "--link is for predictions"),
        (
            ("pets", "-o", "x.csv", "--to", "csv", "--include-weights"),
            1,
            "--include-weights is for the model folder; leave it out",
        ),
        (("pets", "-o", "x.csv", "--to", "csv", "--images", "."), 1, "--images is for --to onnx and open_clip"),
        (("pets", "-o", "x", "--to", "onnx", "--method", "cde"), 1, "--method is for predictions"),
        (("pets", "-o", "x", "--to", "onnx"), 1, "model does not exist yet"),
        (("er", "-o", "x", "--to", "onnx"), 1, "er has no images to check the export on; give some with --images FOLDER"),
        (("pets", "-o", "x", "--to", "csv"), 1, "x: --to csv writes a file whose name ends in .csv"),
        (("pest", "-o", "x.csv", "--to", "csv"), 1, "there is no data set 'pest'; there are: pets"),
        (("pets", "-o", "x"), 1, "model does not exist yet: `nola run --dataset pets` makes it"),
        (("pets", "-o", "x", "--to", "excel"), 2, "'excel' is not one of"),
    ],
)
def test_what_does_not_go_together_is_said(root: Path, nola: Nola, words: tuple[str, ...], status: int, sentence: str) -> None:
    assert sentence in nola("export", *words, status=status)[1]
