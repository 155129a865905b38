"""Class names in texts: identifiers are split, other names do not change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nola_core.datasets.names import changed_names, display_name, not_english, telling_nothing


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("apply_eye_makeup", "apply eye makeup"),
        ("air_plane", "air plane"),
        ("Faces_easy", "Faces easy"),
        ("  sea   lion ", "sea lion"),
        ("AnnualCrop", "annual crop"),
        ("PermanentCrop", "permanent crop"),
        ("SeaLake", "sea lake"),
        ("annualCrop", "annual crop"),
        ("CupOfTea", "cup of tea"),
        ("TVStand", "TV stand"),
        ("Boeing737", "Boeing 737"),
        ("Boeing_737-800", "Boeing 737-800"),
    ],
)
def test_identifiers_are_taken_apart(name: str, shown: str) -> None:
    assert display_name(name) == shown


@pytest.mark.parametrize(
    "name",
    ["747-400", "F-16", "BMW 3 Series Sedan 2012", "McLaren F1 Coupe", "McLaren", "iPhone", "A320", "MP3", "X5", "n01440764",
     "Café", "dog", "Egyptian Mau", "HDTV", "3DPrinter"],
)  # fmt: skip
def test_names_written_as_text_keep_their_words(name: str) -> None:
    assert display_name(name) == name


@given(st.text("abAB7 _-\t", max_size=12))
def test_display_names_are_clean_and_stay_so(name: str) -> None:
    shown = display_name(name)
    assert "_" not in shown and shown == " ".join(shown.split()) == display_name(shown)
    assert shown.replace(" ", "").casefold() == "".join(name.replace("_", " ").split()).casefold(), "no letter is lost"


def test_what_changed_and_what_tells_nothing() -> None:
    assert changed_names(["a_b", "cat"], ["a b", "cat"]) == [("a_b", "a b")]
    assert telling_nothing(["n01440764", "7", "747-400", "n1", "cat"]) == ["n01440764", "7"]


def test_letters_that_english_has_not() -> None:
    assert not_english(["door", "Schlüssel", "747-400", "猫", "cat’s eye", "café"]) == ["Schlüssel", "猫", "café"]
