"""Class lists: names that cannot be read, printed or distinguished give a clear message."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nola_core.datasets.classes import class_names, reading
from nola_core.datasets.definition import load_definition
from nola_core.datasets.names import display_name
from nola_core.errors import NolaError
from tests.collection import write_collection


def names_of(root: Path, classes: Any) -> list[tuple[str, str]]:
    return [tuple(entry) for entry in class_names(load_definition(write_collection(root, classes=classes), "toy"), None)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["cat", "", "dog"], "data/toy.yaml: class 2 of 3 has no name; give it one."),
        (["cat", " \t"], "data/toy.yaml: class 2 of 2 has no name; give it one."),
        (["cat", "___"], "class 2 of 2, '___', has no visible characters; give it a readable name."),
        (["cat", "\u200b_"], r"class 2 of 2, '\u200b_', has no visible characters"),
        (["cat", "dog", "Cat"], "duplicate class names 'cat' (class 1) and 'Cat' (class 3)"),
        (["sea_lion", "dog", "sea  lion"], "duplicate class names 'sea_lion' (class 1) and 'sea  lion' (class 3)"),
        (["cat", "cat\u200b"], r"duplicate class names 'cat' (class 1) and 'cat\u200b' (class 2)"),
        (["caf\u00e9", "cafe\u0301"], "duplicate class names"),
        (["\uff43at", "cat"], "duplicate class names"),
        (["cat"], "data/toy.yaml: 1 class names; a classifier needs at least two, so add more."),
        ([], "data/toy.yaml: 0 class names"),
        (["cat\r", "dog"], r"class 1 of 2, 'cat\r', contains the control character U+000D; remove it."),
        (["cat", "a\r\nb"], r"class 2 of 2, 'a\r\nb', contains the control character U+000D"),
        (["cat", "a\x85b"], r"'a\x85b', contains the control character U+0085"),
        (["cat", "a\x1b[2Jb"], r"'a\x1b[2Jb', contains the control character U+001B"),
        (["cat", "a\tb"], r"'a\tb', contains the control character U+0009"),
        (["cat", "a\u2028b"], r"'a\u2028b', contains the control character U+2028"),
        (["cat", "x" * 10_000], f"class 2 of 2, '{'x' * 40}...', has 10,000 characters; shorten it to at most 200."),
    ],
)
def test_a_wrong_class_list_is_one_sentence(tmp_path: Path, classes: list[str], sentence: str) -> None:
    with pytest.raises(NolaError, match=re.escape(sentence)) as caught:
        names_of(tmp_path, classes)
    assert str(caught.value).isprintable()


def test_names_of_any_script_are_kept_as_they_are(tmp_path: Path) -> None:
    names = [
        "Café crème",
        "می‌خواهم",
        "猫",
        "=HYPERLINK(1)",
        "n" * 200,
    ]  # the second contains the joiner used in Persian
    assert names_of(tmp_path, names) == [(name, name) for name in names]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_of_names_ends_its_lines_as_it_likes(tmp_path: Path, end: str, mark: bytes) -> None:
    text = end.join(["sea_lion", "Café crème"])
    for tail in ("", end):
        (tmp_path / "names.txt").write_bytes(mark + (text + tail).encode())
        assert names_of(tmp_path, "names.txt") == [("sea_lion", "sea lion"), ("Café crème", "Café crème")]


def test_a_file_of_names_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(NolaError, match=r"data/toy.yaml: the class list .*names.txt cannot be read \(No such file"):
        names_of(tmp_path, "names.txt")
    path.write_bytes(b"cat\n\ndog\n")
    with pytest.raises(NolaError, match=r"names.txt: class 2 of 3 has no name"):
        names_of(tmp_path, "names.txt")
    path.write_bytes(b"caf\xe9\ndog\n")
    with pytest.raises(NolaError, match=r"names.txt cannot be read \(it is not UTF-8\)"):
        names_of(tmp_path, "names.txt")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NolaError, match=r"names.txt cannot be read \(it is not a regular file\)"):
        names_of(tmp_path, "names.txt")


@given(st.text(max_size=20))
@example("Aaa0")
def test_spaces_underscores_and_what_cannot_be_seen_make_no_other_name(name: str) -> None:
    assert reading(name) == reading(f"\u200b{name}\u200b")
    spaced = reading(f" {name}\u200b_".replace("_", " "))  # with a space, an identifier is not split
    assert spaced.replace(" ", "") == reading(name).replace(" ", "")
    displayed = reading(display_name(name))  # which may split an identifier, as `Boeing737`
    assert displayed.replace(" ", "") == reading(name).replace(" ", "")
