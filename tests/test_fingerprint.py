"""Fingerprints of code for small hand-written packages."""

from pathlib import Path

import pytest

from nola_core.fingerprint import NEUTRAL, ROOT, Package

STAGE = """
'''Docstring.'''
from typing import TYPE_CHECKING

from nola_core.datasets.image import decode
from nola_core.errors import NolaError

if TYPE_CHECKING:
    from nola_core import typing_only


def run(x: int) -> int:
    '''Doubles.'''
    from nola_core import late

    return 2 * decode(x)  # twice
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "__init__.py": "",
        "errors.py": "class NolaError(Exception): ...",
        "late.py": "VALUE = 1",
        "typing_only.py": "VALUE = 1",
        "stages/__init__.py": "",
        "stages/toy.py": STAGE,
        "datasets/__init__.py": "from nola_core.datasets.image import decode\nfrom nola_core.datasets.other import unused",
        "datasets/image.py": "from nola_core.datasets.readers import folder\n\ndef decode(x):\n    return x",
        "datasets/other.py": "def unused(): ...",
        "datasets/readers/__init__.py": "",
        "datasets/readers/folder.py": "from nola_core.datasets.readers import shared",
        "datasets/readers/shared.py": "VALUE = 1",
        "page.html": "<p>",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def code(package: Path, *roots: str) -> str:
    return Package(package).code([f"nola_core.{root}" for root in ("stages.toy", *roots)], files=["page.html"])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/toy.py", "# twice", "# two times"),
        ("stages/toy.py", "'''Doubles.'''", "'''Gives twice the number.'''"),
        ("stages/toy.py", "'''Docstring.'''", "\n\n\n"),
        ("stages/toy.py", "2 * decode(x)", "(2 * decode(\n        x))"),
        ("errors.py", "...", "code = 3"),
        ("typing_only.py", "1", "2"),
        ("datasets/other.py", "...", "return 1"),
        ("datasets/readers/folder.py", "shared", "shared as other"),
    ],
)
def test_what_cannot_change_a_result_does_not_count(package: Path, file: str, old: str, new: str) -> None:
    before = code(package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert code(package) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/toy.py", "2 * decode", "3 * decode"),
        ("stages/toy.py", "x: int", "y: int"),
        ("late.py", "1", "2"),
        ("datasets/image.py", "return x", "return -x"),
        ("page.html", "<p>", "<b>"),
    ],
)
def test_what_can_change_a_result_counts(package: Path, file: str, old: str, new: str) -> None:
    before = code(package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert code(package) != before


def test_a_plugin_counts_with_all_it_imports_once_it_is_named(package: Path) -> None:
    before = code(package, "datasets.readers.folder")
    assert before != code(package)
    (package / "datasets" / "readers" / "shared.py").write_text("VALUE = 2")
    assert code(package, "datasets.readers.folder") != before


def test_neutral_modules_and_plugins_exist() -> None:
    for name in NEUTRAL:
        assert (ROOT.parent / Path(*name.split("."))).with_suffix(".py").is_file(), name


def test_the_student_depends_on_the_decoder_and_on_no_reader() -> None:
    reached = Package().reached(["nola_core.stages.tune"])
    assert {"nola_core.datasets.image", "nola_core.tuning", "nola_core.prompting", "nola_core.augmentation"} <= reached
    assert not {name for name in reached if ".readers" in name or ".report" in name or ".descriptions" in name}
