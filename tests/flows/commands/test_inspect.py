"""Output of pages: tables for people, JSON for scripts, notices on stderr, and the written path last on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.flows.commands.conftest import Nola
from tests.report.example import write_example


def test_a_page_is_a_table_and_its_place_a_notice(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished / "data" / "pets")
    out, err = nola("inspect", "pseudo-labels", "pets", "--class", "CAT", "--rows", "3", "--offset", "6")
    header, *lines = [" ".join(line.split()) for line in out.splitlines()]
    assert header == "image_id class rank confidence margin selected why"
    table = pd.read_parquet("pseudo_labels.parquet").query("class_id == 0").sort_values("rank").iloc[6:9]
    assert lines == [
        f"{row.image_id} cat {row.rank} {row.confidence:.3f} {row.margin:.3f} {'yes' if row.selected else 'no'} {row.why}"
        for row in table.itertuples()
    ]
    total = len(pd.read_parquet("pseudo_labels.parquet").query("class_id == 0"))
    assert err == f"rows 7 to 9 of {total}; next: --offset 9\n"
    assert nola("inspect", "pseudo-labels", "pets", "--offset", "1000") == ("", "no rows from 1,001 on, of 60\n")


def test_features_show_signs_and_three_digits(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    out, err = nola("inspect", "features", "pets", "--image", "pictures/061.png")
    assert [line.split()[-5:] for line in out.splitlines()[1:]] == [["3.061", "+0.000", "+3.000", "+0.000", "+0.610"]]
    assert err.startswith("train: 60 x 4 float16; vit_tiny")


def test_json_has_all_digits_and_nothing_beside_it(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    out, err = nola("inspect", "predictions", "pets", "--rows", "2", "--json")
    found = json.loads(out)
    stored = pd.read_parquet("data/pets/predictions.parquet").query("method == 'nola'")
    assert err == "" and (found["offset"], found["total"], found["notes"]) == (0, 90, ["predictions by nola"])
    assert [row["probability"] for row in found["rows"]] == stored["probability"].head(2).tolist()
    rows = json.loads(nola("inspect", "features", "pets", "--rows", "1", "--json")[0])["rows"]
    assert len(rows[0]["first_values"]) == 4
    assert "choose one" in nola("inspect", "predictions", "pets", "--json", "--csv", "x.csv", status=2)[1]
    assert json.loads(nola("inspect", "descriptions", "pets", "--json")[0])["total"] == 3


def test_files_are_written_where_the_user_stands(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    here = finished / "some" / "where"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert nola("inspect", "predictions", "pets", "--csv", "all.csv") == ("all.csv\n", "90 predictions by nola\n")
    table = pd.read_csv(here / "all.csv")
    assert table.columns.tolist() == ["image_id", "split", "class", "probability"] and len(table) == 90
    assert nola("inspect", "predictions", "pets", "--csv", "all.csv", "-q") == ("all.csv\n", "")
    assert nola("inspect", "contact-sheet", "pets", "--class", "owl", "--count", "2") == ("pets-owl.png\n", "")
    out, _ = nola("inspect", "similar", "pets", "pictures/065.png", "--count", "2", "--sheet", "near.png")
    assert out.splitlines()[-1] == "near.png"
    for picture in ("pets-owl.png", "near.png"):
        with Image.open(here / picture) as image:
            assert image.format == "PNG"


def test_a_folder_is_never_replaced_by_a_file(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = finished / "kept"
    kept.mkdir()
    (kept / "mine.txt").touch()
    monkeypatch.chdir(finished)
    for words in (["predictions", "pets", "--csv"], ["contact-sheet", "pets", "--class", "owl", "--out"]):
        nola("inspect", *words, "kept", status=2)
    assert (kept / "mine.txt").exists()


def test_wrong_names_end_with_one_sentence(finished: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    assert nola("inspect", "features", "pet", status=1) == ("", "error: there is no data set 'pet'; there are: pets.\n")
    assert "there is no class 'cta'" in nola("inspect", "pseudo-labels", "pets", "--class", "cta", status=1)[1]


def test_no_name_steers_the_terminal_or_a_spreadsheet(tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path / "data" / "pets")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    path = tmp_path / "data" / "pets" / "classes.parquet"
    pd.read_parquet(path).assign(name=["=1+1", "a\x1b[2Jb", "owl"]).to_parquet(path)
    monkeypatch.chdir(tmp_path)
    out, _ = nola("inspect", "predictions", "pets", "--rows", "100")
    assert "\x1b" not in out and r"a\x1b[2Jb" in out
    nola("inspect", "predictions", "pets", "--csv", "pets.csv")
    assert "'=1+1" in set(pd.read_csv("pets.csv")["class"])
    assert nola("inspect", "pseudo-labels", "pets", "--class", "\x1b]0;x\x07\nc", status=1)[1].splitlines() == [
        r"error: there is no class '\x1b]0;x\x07",
        r"error: c'; there are: =1+1, a\x1b[2Jb, owl.",
    ]
