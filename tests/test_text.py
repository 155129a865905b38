"""Texts from users are safe for terminals and spreadsheets and do not change otherwise."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nola_core.text import as_written, enumerated, printable, spreadsheet_safe, write_spreadsheet


@given(st.text(st.characters()))
def test_nothing_printed_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


def test_what_cannot_be_seen_is_shown() -> None:
    assert printable("a\x1b[2Jb\r\n\x85") == "a\\x1b[2Jb\\r\\n\\x85"
    assert printable("cat\u200b \u202egnp.jpg") == "cat\\u200b \\u202egnp.jpg"
    assert printable("caf\udce9") == "caf\\udce9" and printable("Café crème 猫") == "Café crème 猫"


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1"])
def test_formulas_become_text(text: str) -> None:
    assert spreadsheet_safe(text) == f"'{text}"
    assert spreadsheet_safe(f"a{text}") == f"a{text}"


@given(st.text("=+-@'ab\t", max_size=6))
def test_the_apostrophe_can_be_taken_away_again(text: str) -> None:
    safe = spreadsheet_safe(text)
    assert as_written(safe) == text
    assert not safe.startswith(("=", "+", "-", "@", "\t"))


def test_a_file_has_a_row_a_row_whatever_is_in_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": ["a\rb.png", "a\nb,c.png", '=1"', "\r=1"], "probability": [0.25, 0.5, 1.0, -0.125]})
    write_spreadsheet(tmp_path / "a.csv", frame, float_format="%.2f")
    assert (tmp_path / "a.csv").read_bytes() == (
        b'image_id,probability\na\\rb.png,0.25\n"a\nb,c.png",0.50\n"\'=1""",1.00\n\'\\r=1,-0.12\n'
    )


def test_a_frame_keeps_its_numbers_and_its_plain_texts() -> None:
    frame = pd.DataFrame(
        {
            "class": ["cat", "=1+1", "-x"],
            "kind": pd.Categorical(["@a", "b", "@a"]),
            "value": [-1.5, 2.0, float("nan")],
            "count": [-1, 0, 1],
            "mixed": [None, "=a", -2],
        }
    )
    before = frame.copy()
    safe = spreadsheet_safe(frame)
    pd.testing.assert_frame_equal(frame, before)
    rows = list(csv.reader(io.StringIO(safe.to_csv(index=False))))
    assert rows[1:] == [
        ["cat", "'@a", "-1.5", "-1", ""],
        ["'=1+1", "b", "2.0", "0", "'=a"],
        ["'-x", "'@a", "", "1", "-2"],
    ]
    pd.testing.assert_frame_equal(safe[["value", "count"]], frame[["value", "count"]])
    assert as_written(safe).to_csv() == frame.to_csv()


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        ([], ""),
        (["a"], "a"),
        ([1, 2, 3], "1, 2, 3"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (range(1203), "0, 1, 2 and 1,200 more"),
    ],
)
def test_a_long_list_is_cut_and_says_by_how_much(items: list[object], shown: str) -> None:
    assert enumerated(items, most=3) == shown
