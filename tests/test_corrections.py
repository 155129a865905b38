"""The table of corrections: what it says, in any order of its rows, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nola_core.corrections import Corrections, Row, path_of, read, sentence
from nola_core.datasets.classes import class_list
from nola_core.errors import NolaError

NAMES = ("ant", "bee", "cat", "dog")
IMAGES = ("1.png", "2.png", "3.png")


def table(root: Path, text: str) -> Corrections:
    path = path_of(root, "toy")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("what,name,class\n" + text, encoding="utf-8")
    return read(root, "toy")


def test_a_table_says_all_four_kinds(tmp_path: Path) -> None:
    found = table(tmp_path, "image,1.png,bee\nimage,2.png,(none)\n\nmerge,bee,cat\nclass,emu,\nimage,3.png,emu\nmerge,cat,dog\n")
    found.check(NAMES, iter(IMAGES))
    assert found.images == {"1.png": "dog", "2.png": None, "3.png": "emu"}  # bee is cat, and cat is dog
    assert class_list(NAMES, found.of_classes) == ["ant", "dog", "emu"]
    assert sentence(found.counts) == "6 corrections were given (3 images, 2 merged classes, 1 new class): not label-free"
    assert not read(tmp_path, "other") and class_list(NAMES, Corrections().of_classes) == list(NAMES)


def test_what_is_written_is_read_and_what_is_taken_back_is_gone(tmp_path: Path) -> None:
    hostile = ("=1+1", 'a "quoted", name', "'-5", "\u202eright to left\u202c", "@x;y")
    rows = (Row("class", "emu"), *(Row("image", name, "emu") for name in hostile), Row("merge", "ant", "bee"))
    Corrections(rows).write(path_of(tmp_path, "toy"))
    assert not any(line.partition(",")[2].startswith(("=", "@")) for line in path_of(tmp_path, "toy").read_text().splitlines())
    found = read(tmp_path, "toy")
    assert [(row.key, row.target) for row in found.rows] == [(row.key, row.target) for row in rows]
    assert found.with_rows(Row("image", "=1+1", "ant")).images["=1+1"] == "bee"
    left = found.without([("class", "emu")])
    assert [row.what for row in left.rows] == ["merge"], "images of a class that is gone are not corrected any more"
    left.without([("merge", "ant")]).write(path_of(tmp_path, "toy"))
    assert not path_of(tmp_path, "toy").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("picture,1.png,ant\n", "line 2 begins with 'picture'; it must be image, merge or class."),
        ("image,1.png\n", "line 2: a row 'image' takes an image and its class"),
        ("class,emu,bird\n", "line 2: a row 'class' takes the name of a new class"),
        ("image,1.png,ant,bee\n", "line 2: a row 'image' takes an image and its class; put names that hold a comma in quotes."),
        ("image,1.png,ant\nimage,1.png,bee\n", "line 3 names the image '1.png' again, with 'bee' instead of 'ant'"),
        ("merge,ant,bee\nmerge,ant,cat\n", "line 3 merges the class 'ant' again, with 'cat' instead of 'bee'"),
        ("merge,ant,bee\nmerge,bee,cat\nmerge,cat,ant\n", "line 2 merges 'ant' in a circle"),
        ("merge,ant,ant\n", "line 2 merges 'ant' in a circle"),
        ("image,9.png,ant\n", "line 2: there is no image '9.png'; correct the name or delete the row."),
        ("image,1.png,aunt\n", "line 2: there is no class 'aunt'; there are: ant, bee, cat, dog."),
        ("merge,ant,wasp\n", "line 2: there is no class 'wasp'"),
        ("class,Ant,\n", "line 2 adds the class 'Ant', but there is 'ant' already"),
        ("class,sea lion,\nclass,sea_lion,\n", "line 3 adds the class 'sea_lion', but there is 'sea lion' already"),
        ("merge,ant,bee\nmerge,bee,cat\nmerge,cat,dog\n", "1 class names; a classifier needs at least two"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(NolaError) as caught:
        table(tmp_path, text).check(NAMES, IMAGES)
    assert str(caught.value).startswith("data/toy.corrections.csv") and said in str(caught.value)


def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path) -> None:
    path = path_of(tmp_path, "toy")
    path.parent.mkdir()
    for content, said in (
        (b"image,1.png,ant\n", "must begin with the line what,name,class"),
        (b"\xff\xfe", "is no CSV in UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(NolaError, match=said):
            read(tmp_path, "toy")
    path.write_text("\ufeffwhat;name;class\nimage;1.png;ant\n")  # as a spreadsheet saves it
    assert read(tmp_path, "toy").images == {"1.png": "ant"}


LETTERS = "abcdefgh"


@given(targets=st.dictionaries(st.sampled_from(LETTERS), st.sampled_from(LETTERS)), order=st.randoms())
def test_merges_mean_the_same_in_any_order_and_twice(targets: dict[str, str], order: object) -> None:
    """Against a slow oracle: classes are one if a chain of rows leads from one to the other."""
    rows = [Row("merge", name, into) for name, into in targets.items()]
    try:
        found = Corrections(tuple(rows))
    except NolaError:
        assert any(_leads(targets, name, name) for name in targets)
        return
    shuffled = rows * 2
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Corrections(tuple(shuffled)).merges == found.merges
    ends = set(LETTERS) - set(targets)
    assert class_list(LETTERS, found.of_classes) == sorted(ends)
    for name in LETTERS:
        end = found.final(name)
        assert end in ends and found.final(end) == end and (end == name or _leads(targets, name, end))


def _leads(targets: dict[str, str], start: str, end: str) -> bool:
    name = start
    for _ in LETTERS:
        if name not in targets:
            return False
        name = targets[name]
        if name == end:
            return True
    return False
