"""Fingerprints of code for small hand-written packages."""

import ast
from pathlib import Path

import pytest

from nola_core.fingerprint import NEUTRAL, PLUGINS, SHARED, Package, _parsed
from nola_core.methods.registry import PARTS, names

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


def test_another_thread_that_parses_does_no_harm(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, calls = code(package), ast.parse, 0

    def parse(text: str) -> ast.Module:  # as Python 3.11 fails now and then; see cpython#106905
        nonlocal calls
        calls += 1
        if calls % 2:
            raise SystemError("AST constructor recursion depth mismatch (before=93, after=76)")
        return real(text)

    monkeypatch.setattr(ast, "parse", parse)
    _parsed.cache_clear()
    assert code(package) == before and calls > 2


def test_a_plugin_counts_with_all_it_imports_once_it_is_named(package: Path) -> None:
    before = code(package, "datasets.readers.folder")
    assert before != code(package)
    (package / "datasets" / "readers" / "shared.py").write_text("VALUE = 2")
    assert code(package, "datasets.readers.folder") != before


OWN = """
from nola_core.datasets.other import unused
from nola_core.methods.method import Method


class Own(Method):
    def fit(self):
        return 1
"""


@pytest.fixture
def own(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method of a project, beside a package whose stage finds its methods by name."""
    files = {
        "stages/toy.py": "from nola_core.methods import registry, storage\nfrom nola_core.methods.method import Method",
        "methods/__init__.py": "from nola_core.methods.registry import find",
        "methods/registry.py": "from nola_core.methods import one, two\n\ndef find(): ...",
        "methods/method.py": "class Method: ...",
        "methods/storage.py": "from nola_core.methods.method import Method",
        "methods/one.py": '"One."\nfrom nola_core.methods.method import Method\nfrom nola_core.late import LATE  # late',
        "methods/two.py": "from nola_core.methods.method import Method",
    }
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    path = tmp_path_factory.mktemp("project") / "own.py"
    path.write_text(OWN)
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_method_counts_where_it_is_in_force_and_what_all_methods_share_everywhere(package: Path, own: Path) -> None:
    reached = Package(package).reached(["nola_core.stages.toy", "nola_core.methods.one"])
    shared = {"nola_core.methods.method", "nola_core.methods.storage"}
    assert reached == {"nola_core.stages.toy", "nola_core.methods.one", "nola_core.late", *shared}

    def codes() -> list[str]:
        return [code(package), code(package, "methods.one"), code(package, "methods.two")]

    def changed(file: str, old: str, new: str) -> list[bool]:
        before = codes()
        edit(package / file, old, new)
        return [one != other for one, other in zip(before, codes(), strict=True)]

    assert changed("methods/one.py", "# late", "# A comment.") == [False, False, False]
    assert changed("methods/one.py", "One.", "The first.") == [False, False, False]
    assert changed("methods/one.py", "import LATE", "import LATE as OTHER") == [False, True, False]
    assert changed("late.py", "1", "2") == [False, True, False]
    assert changed("methods/storage.py", "import Method", "import Method as Other") == [True, True, True]
    assert changed("methods/registry.py", "...", "return 1") == [False, False, False]


def test_a_method_of_a_project_counts_by_its_code_with_what_it_imports(package: Path, own: Path, tmp_path: Path) -> None:
    def now(path: Path = own) -> str:
        return Package(package).code(["nola_core.stages.toy", str(path)])

    before = now()
    assert before != Package(package).code(["nola_core.stages.toy"])
    elsewhere = tmp_path / "elsewhere" / "own.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(own.read_text())
    assert now(elsewhere) == before, "wherever the project lies"
    edit(own, "class Own", "# A comment.\n\n\nclass Own")
    assert now() == before
    edit(own, "return 1", "return 2")
    assert now() != before
    before = now()
    edit(package / "datasets" / "other.py", "...", "return 1")
    assert now() != before


def test_the_modules_that_are_named_exist() -> None:
    package = Package()
    for name in (*NEUTRAL, *PLUGINS, *SHARED):
        assert package._has(name), name


def test_every_method_is_a_plugin_and_the_other_modules_beside_it_are_shared_or_neutral() -> None:
    parts = {f"nola_core.methods.{name}" for name in PARTS}
    assert parts - NEUTRAL == set(SHARED)
    assert not {f"nola_core.methods.{name}" for name in names()} & {*SHARED, *NEUTRAL}


def test_the_student_depends_on_the_decoder_and_on_no_reader_or_other_method() -> None:
    reached = Package().reached(["nola_core.stages.tune", "nola_core.methods.nola", "nola_core.students.loop"])
    assert {
        "nola_core.datasets.image",
        "nola_core.students.loop",
        "nola_core.students.parts.norms",
        "nola_core.students.augmentation",
    } <= reached
    assert not {name for name in reached if ".readers" in name or ".report" in name or ".descriptions" in name}
    assert "nola_core.alignment" not in reached
    assert {name for name in reached if ".methods" in name} == {
        f"nola_core.methods.{name}" for name in ("collection", "method", "storage", "nola")
    }
