"""Descriptions somebody wrote: what is wrong with the table is named by row, column or class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nola_core.descriptions import SCHEMA, describe, read_provided
from nola_core.errors import NolaError
from nola_core.files import read_table, write_table
from tests.collection import PARAMS

HEADER = "class,prompt,text,provider,model\n"
CLASSES = pd.DataFrame({"class_id": [0, 1], "name": ["sea_lion", "dog"], "display_name": ["sea lion", "dog"]})


def csv(folder: Path, content: str) -> Path:
    path = folder / "descriptions.csv"
    path.write_text(content)
    return path


def provided(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([(name, "p", text, "hand", "") for name, text in rows], columns=HEADER.strip().split(","))


def test_csv_and_parquet_read_the_same(tmp_path: Path) -> None:
    path = csv(tmp_path, HEADER + 'dog,p,"barks, a lot",hand,\nnull,p,007,hand,m\n')
    frame = read_provided(path)
    assert frame.to_numpy().tolist() == [["dog", "p", "barks, a lot", "hand", ""], ["null", "p", "007", "hand", "m"]]
    other = tmp_path / "descriptions.parquet"
    frame.assign(model=pd.Series([None, "m"]), extra=1).set_axis([5, 9]).to_parquet(other)
    assert read_provided(other).equals(frame)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "class,text,provider\ndog,barks,hand\n",
            "lacks the columns prompt, model; it needs class, prompt, text, provider, model",
        ),
        (HEADER + "dog,p,barks,hand,\ndog,p,  ,hand,\n", "row 2 has no text"),
        (HEADER + "dog,p,barks,hand,\n,p,barks,hand,\n", "row 2 has no class"),
        (HEADER + "dog,p,barks, a lot,hand,m\n", "row 1 has more fields than the header; put texts that hold a comma in quotes"),
        (HEADER + "dog,p,barks,hand,m\ndog,p,a,b,hand,m\n", "cannot be read as a table of descriptions: .*line 3, saw 6"),
        ("", "cannot be read as a table of descriptions"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(NolaError, match=sentence):
        read_provided(csv(tmp_path, content))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"nowhere.csv do not exist; write them, or set describe.provider to none"):
        read_provided(tmp_path / "nowhere.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"dog,p,caf\xe9,hand,\n")
    (tmp_path / "bad.parquet").write_text("no parquet")
    for name in ("latin.csv", "bad.parquet"):
        with pytest.raises(NolaError, match="cannot be read as a table of descriptions"):
            read_provided(tmp_path / name)
    write_table(tmp_path / "null.parquet", provided(("dog", "barks")).assign(class_id=0, text=pd.Series([None])), SCHEMA)
    with pytest.raises(NolaError, match="row 1 has no text"):
        read_provided(tmp_path / "null.parquet")


def test_sentences_come_in_class_order_by_either_name_without_duplicates(tmp_path: Path) -> None:
    rows = provided(("dog", "barks"), ("sea lion", "swims"), ("dog", "barks"), ("sea_lion", "swims"), ("dog", "swims"))
    table = describe(rows, CLASSES, source="d.csv")
    assert table[["class_id", "text"]].to_numpy().tolist() == [[0, "swims"], [1, "barks"], [1, "swims"]]
    write_table(tmp_path / "descriptions.parquet", table, SCHEMA)
    assert read_table(tmp_path / "descriptions.parquet")["class"].tolist() == ["sea lion", "dog", "dog"]


def test_every_class_needs_a_sentence_and_every_sentence_a_class() -> None:
    with pytest.raises(NolaError, match=r"d.csv does not fit the class list; classes without a description: sea_lion\. Correct"):
        describe(provided(("dog", "barks")), CLASSES, source="d.csv")
    with pytest.raises(NolaError) as caught:
        describe(provided(("dog", "barks"), ("sealion", "swims"), ("xyz", "?")), CLASSES, source="d.csv")
    assert str(caught.value) == (
        "d.csv does not fit the class list; classes without a description: sea_lion; descriptions of unknown classes: "
        "sealion, xyz ('sealion' is near 'sea_lion'). Correct the table, or set describe.provider to none."
    )
    with pytest.raises(NolaError, match="without a description: sea_lion, dog"):
        describe(provided(), CLASSES, source="d.csv")


def test_the_demos_descriptions_fit_its_classes() -> None:
    root = PARAMS.parent
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    classes = pd.DataFrame({"class_id": range(10), "name": names, "display_name": names})
    table = describe(read_provided(root / "demo" / "descriptions.csv"), classes, source="demo")
    assert table["class_id"].value_counts().min() >= 3 and set(table["provider"]) == {"hand-written"}
