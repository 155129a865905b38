"""Class names from a command line or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nola_core.datasets.class_list import read_class_list
from nola_core.errors import NolaError


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("names.txt", "\ufeffcat\r\n\r\nguinea pig\r\n", ["cat", "guinea pig"]),
        ("names.txt", "cat, tabby\ndog\n", ["cat, tabby", "dog"]),
        ("names.csv", 'id,Class\n1,cat\n2,"pig, guinea"\n3,cat\n', ["cat", "pig, guinea"]),
        ("names.csv", "cat\ndog\n", ["cat", "dog"]),
    ],
)
def test_a_file_of_names(tmp_path: Path, file: str, text: str, names: list[str]) -> None:
    (tmp_path / file).write_bytes(text.encode())
    assert read_class_list(str(tmp_path / file)) == names


def test_names_between_commas(tmp_path: Path) -> None:
    assert read_class_list(" cat, guinea pig ,dog") == ["cat", "guinea pig", "dog"]
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(NolaError, match=r"odd\.txt cannot be read .it is not UTF-8 text"):
        read_class_list(str(tmp_path / "odd.txt"))
    (tmp_path / "none.csv").touch()
    with pytest.raises(NolaError, match=r"none\.csv: 0 class names; a classifier needs"):
        read_class_list(str(tmp_path / "none.csv"))
