"""An audit by a table: written, filled in as people do, read back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from flows.cli import main
from nola_core.errors import NolaError
from nola_core.trust import sheet
from nola_core.trust.judging import opened
from tests.trust.example import write_predicted

HOSTILE = ("=1+1", "none", "a, b", "it's", "NA", "\u202eabc")


def fill(file: Path, truth: dict[str, str], *, rows: int | None = None, **kwargs: str) -> None:
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["answer"] = [truth[one] for one in table["image_id"]]
    if rows is not None:
        table.loc[rows:, "answer"] = ""
    table.to_csv(file, index=False, encoding="utf-8-sig", **kwargs)  # type: ignore[arg-type]


def test_a_table_goes_out_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_predicted(tmp_path, images=60)
    monkeypatch.chdir(tmp_path)
    command = ["audit", "toy", "--labels", "20", "--table", "judge.csv"]
    assert main(command) == 0
    assert capsys.readouterr().out == "judge.csv\n"
    table = pd.read_csv("judge.csv", keep_default_na=False)
    assert len(table) == 20 and all(Image.open(name).size == (20, 20) for name in table["picture"])
    assert all(options.split(" | ") == sorted(options.split(" | ")) for options in table["options"])
    fill(tmp_path / "judge.csv", truth, rows=12, sep=";")
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "12 of 20 labels, 8 are missing" in captured.err
    table["answer"] = [truth[one].upper() for one in table["image_id"]]
    table.to_csv("judge.csv", index=False)
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("accuracy ") and "measured on 20 images" in captured.out
    assert "8 new answers" in captured.err and "next: nola run --dataset toy" in captured.err


def test_a_row_left_open_in_the_middle_holds_back_those_below(tmp_path: Path) -> None:
    truth = write_predicted(tmp_path, images=60)
    with opened(tmp_path, "toy", labels=15) as judging:
        sheet.write(judging, tmp_path / "t.csv", lambda one: Image.open(tmp_path / "images" / one))
        table = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
        table["answer"] = [truth[one] for one in table["image_id"]]
        table.loc[4, "answer"] = ""
        table.loc[5, "answer"] = "(SKIP)"
        table.to_csv(tmp_path / "t.csv", index=False)
        assert sheet.read(judging, tmp_path / "t.csv") == 14 and judging.judged == 4
        table.loc[4, "answer"] = "(none)"
        table.to_csv(tmp_path / "t.csv", index=False)
        assert sheet.read(judging, tmp_path / "t.csv") == 1 and (judging.judged, judging.skipped) == (14, 1)


def test_hostile_names_start_no_formula_and_come_back(tmp_path: Path) -> None:
    truth = write_predicted(tmp_path, images=40, classes=HOSTILE)
    with opened(tmp_path, "toy", labels=40) as judging:
        sheet.write(judging, tmp_path / "t.csv", lambda one: Image.open(tmp_path / "images" / one))
        text = (tmp_path / "t.csv").read_text()
        assert not [cell for line in text.splitlines() for cell in line.split(",") if cell.startswith("=")]
        fill(tmp_path / "t.csv", {one: f"'{name}" if name.startswith("=") else name for one, name in truth.items()})
        sheet.read(judging, tmp_path / "t.csv")
        assert {one.image_id: one.label for one in judging.progress.answers.values()} == truth


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image_id,answer\n000.png,elf\n", r"line 2: there is no class 'elf'; .* Otherwise write \(none\) or \(skip\)"),
        ("image_id,answer\nx.png,elk\n", "line 2: there is no image 'x.png'"),
        ("image_id\n000.png\n", "no column answer"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_wrong_table_says_where_and_stores_nothing(tmp_path: Path, text: str, sentence: str) -> None:
    write_predicted(tmp_path, images=40)
    (tmp_path / "t.csv").write_text(text)
    with opened(tmp_path, "toy", labels=15) as judging:
        with pytest.raises(NolaError, match=sentence):
            sheet.read(judging, tmp_path / "t.csv")
        assert not judging.progress.answers
