"""Tables of descriptions: every form is read, what is wrong is named by row, column or class, nothing is dropped in silence."""

from __future__ import annotations

import csv
import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nola_core.descriptions import SCHEMA, describe, import_file, read_provided
from nola_core.descriptions.texts.table import as_sentence, match
from nola_core.errors import NolaError
from nola_core.files import read_table, write_table
from tests.collection import PARAMS

BENCH = Path(os.environ.get("NOLA_BENCH_DATA", "../shared/benchdata"))
HEADER = "class,prompt,text,provider,model\n"
CLASSES = pd.DataFrame({"class_id": [0, 1], "name": ["sea_lion", "dog"], "display_name": ["sea lion", "dog"]})


def csv_file(folder: Path, content: str) -> Path:
    path = folder / "descriptions.csv"
    path.write_text(content)
    return path


def provided(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([(name, "p", text, "hand", "") for name, text in rows], columns=HEADER.strip().split(","))


def test_csv_and_parquet_read_the_same(tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEADER + 'dog,p,"barks, a lot",hand,\nnull,p,007,hand,m\n')
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
        read_provided(csv_file(tmp_path, content))


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


def class_list(*names: str) -> pd.DataFrame:
    shown = [name.replace("_", " ") for name in names]
    return pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": shown})


def saved(folder: Path, content: Any, name: str = "d.json") -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def pairs(frame: pd.DataFrame, *columns: str) -> list[list[str]]:
    return frame[list(columns)].to_numpy().tolist()


def test_sentences_by_class_and_by_prompt(tmp_path: Path) -> None:
    classes = class_list("sea_lion", "dog")
    flat = import_file(saved(tmp_path, {"dog": ["A dog barks.", "A dog  barks."], "sea lion": ["A sea lion swims."]}), classes)
    assert pairs(flat.table, "class", "text") == [["dog", "A dog barks."], ["sea_lion", "A sea lion swims."]]
    assert flat.report[-1] == "  texts that their class had already, dropped: 1" and set(flat.table["provider"]) == {"d.json"}
    nested = import_file(
        saved(tmp_path, {"dog": {"p": ["A dog barks."]}, "sea_lion": {"q": ["A sea lion."]}}), classes, model="m"
    )
    assert pairs(nested.table, "prompt", "text", "model") == [["p", "A dog barks.", "m"], ["q", "A sea lion.", "m"]]


def test_descriptors_become_sentences(tmp_path: Path) -> None:
    path = saved(tmp_path, {"dog": ["two pointed ears", "a long tail"], "cat": ["often has whiskers", "used to hunt mice"]})
    found = import_file(path, class_list("dog", "cat"))
    assert found.table["text"].tolist() == [
        "dog, which has two pointed ears",
        "dog, which is a long tail",
        "cat, which often has whiskers",
        "cat, which is used to hunt mice",
    ]
    assert "descriptors made into sentences" in found.report[-1]
    assert import_file(path, class_list("dog", "cat"), kind="sentences").table["text"][0] == "two pointed ears"
    assert as_sentence("Two blades.", "scissors") == "scissors, which have two blades"


def test_tables_with_other_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, 'Label,Description\ndog,"A dog, big"\ncat,A cat\n', "d.csv")
    frame = import_file(path, class_list("dog", "cat")).table
    assert pairs(frame, "class", "text", "provider") == [["dog", "A dog, big", "d.csv"], ["cat", "A cat", "d.csv"]]
    frame.to_parquet(tmp_path / "d.parquet")
    assert import_file(tmp_path / "d.parquet", class_list("dog", "cat")).table.equals(frame)


def test_names_are_matched_and_shown() -> None:
    classes = class_list("water_lily", "airplane", "crab", "face", "eagle", "747-300", "wild cat")
    names = ["water lilly", "The Air-Plane", "Crabs", "face", "Faces", "beagle", "747-400", "face"]
    found = match(names, classes)
    assert found.exact == {"face": "face"}
    assert found.normalized == {"The Air-Plane": "airplane", "Crabs": "crab", "Faces": "face"}
    assert found.near == {"water lilly": "water_lily"}
    assert found.missing == ["eagle", "747-300", "wild cat"]
    assert found.extra == ["beagle", "747-400"]
    assert found.repeated == ["face"]
    text = "\n".join(found.lines())
    assert text.splitlines()[0] == "4 of 7 classes described, 1 names matched exactly"
    for line in (
        "matched but for case, signs or plural: 3: The Air-Plane = airplane, Crabs = crab, Faces = face",
        "nearly the same, taken as one: 1: water lilly = water_lily",
        "several names for one class, merged: 1: face (Faces, face)",
        "names that occur more than once, merged: 1: face",
        "names of no class, left out: 2: beagle (is it eagle? then rename it), 747-400 (is it 747-300? then rename it)",
        "classes without a description: 3: eagle, 747-300, wild cat",
    ):
        assert f"  {line}" in text


def test_a_name_two_classes_could_have_is_left_to_the_reader() -> None:
    found = match(["Boxes"], class_list("box", "BOX", "tree"))
    assert found.extra == ["Boxes"] and found.class_of == {}


def test_a_class_that_stands_twice_in_a_file_keeps_both(tmp_path: Path) -> None:
    path = saved(tmp_path, '{"dog": ["A dog barks."], "cat": ["A cat."], "dog": ["A dog runs."]}')
    found = import_file(path, class_list("dog", "cat"))
    assert found.table["text"].tolist() == ["A dog barks.", "A cat.", "A dog runs."]
    assert found.coverage.repeated == ["dog"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("d.json", "{", "d.json is no JSON"),
        ("d.json", '["dog"]', "d.json must hold an object, class -> texts."),
        ("d.json", '{"dog": ["a", 3]}', "text 2 of class 'dog' is not a string"),
        ("d.json", '{"dog": ["a", {"b": 1}]}', "text 2 of class 'dog' is not a string"),
        ("d.json", '{"dog": {"p": {"q": ["a"]}}}', "text 1 of class 'dog' is not a string"),
        ("d.json", '{"dog": ["a", " "]}', "class 'dog' has an empty text"),
        ("d.json", '{"dog": []}', "d.json holds no descriptions."),
        ("d.json", '{"cow": ["moos"]}', "none of its names (cow, ...) is a class of the list"),
        ("d.csv", "dog,text\n", "has no column for the class: looked for class, class_name"),
        ("d.csv", "class,text\ndog,\n", "row 1 has no text."),
        ("d.json", '{"dog": ' + "[" * 100_000 + "]" * 100_000 + "}", "d.json is no JSON of descriptions (nested too deep)."),
        ("d.txt", "dog", "are read from .json, .csv and .parquet, not from '.txt'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    with pytest.raises(NolaError, match=re.escape(sentence)):
        import_file(saved(tmp_path, content, name), class_list("dog", "cat"))


@pytest.mark.parametrize("name", ["d.json", "d.csv", "d.parquet"])
def test_a_file_too_large_for_descriptions_is_not_read(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(3_000_000_000)  # of nothing: it takes no room
    for read in (partial(import_file, classes=class_list("dog")), read_provided):
        with pytest.raises(NolaError, match=rf"{name} has 3,000 MB; a file of descriptions may have 200"):
            read(tmp_path / name)


def test_half_a_character_in_a_file_becomes_a_sign(tmp_path: Path) -> None:
    found = import_file(saved(tmp_path, '{"dog": ["A dog \\ud83d."]}'), class_list("dog"))
    assert found.table["text"].tolist() == ["A dog ?."]


@pytest.mark.skipif(not BENCH.is_dir(), reason="NOLA_BENCH_DATA has no benchmark data")
def test_the_published_tables_cover_their_class_lists() -> None:
    with (BENCH / "caltech101-split.csv").open() as stream:
        caltech = list(dict.fromkeys(row["class_name"] for row in csv.DictReader(stream)))
    cifar = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for name, names, texts in (("caltech101", caltech, 2477), ("cifar10", cifar, None)):
        found = import_file(BENCH / "descriptions" / f"{name}.json", class_list(*names))
        assert (found.coverage.missing, found.coverage.extra, found.coverage.near) == ([], [], {})
        assert set(found.table["class"]) == set(names) and "descriptors" not in "".join(found.report)
        assert texts is None or len(found.table) == texts
