"""Methods found by name: NoLA's, registered ones, and those of a project; what is wrong with one is a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nola_core import config, methods
from nola_core.errors import NolaError
from nola_core.methods import registry
from nola_core.methods.method import InForce, Listed
from nola_core.methods.templates import Templates

OURS = methods.names()
KINDS = {"zero_shot": "text", "templates": "text", "cde": "text", "alignment": "features", "nola": "student"}
"""Of the paper's methods; the others are listed nowhere, so that a new one touches its module and its test alone."""
OWN = """
from nola_core.methods.method import TextMethod
from nola_core.schema import Positive, Section

class Options(Section):
    count: Positive = 2

class Own(TextMethod):
    name, title, summary, section = "own", "My own", "the first templates", Options

    def texts(self, texts, options):
        return [filled[:options.count] for filled in texts.templates]

METHOD = Own()
"""


class Registered(Templates):
    name = "registered"


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def write(root: Path, name: str, text: str = OWN) -> Path:
    """`methods/<name>.py` of a project."""
    path = root / "methods" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_every_method_is_listed_and_found_under_its_name() -> None:
    assert set(KINDS) <= set(OURS)
    for name in OURS:
        method = methods.find(name)
        assert method.name == name and method.title and method.summary and method.paper
        assert method.kind == KINDS.get(name, method.kind)


def test_a_project_has_methods_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "own")
    write(tmp_path, "_helper", "1 / 0")
    assert methods.names(tmp_path) == sorted([*OURS, "own"])
    assert methods.find("own", tmp_path).title == "My own"
    with pytest.raises(NolaError, match="no method 'own'"):
        methods.find("own")
    values = {"methods": ["cde", "own"], "final": "own", "own": {"count": 1}}
    settings = config.parse(values, root=tmp_path)
    assert settings.options("own").model_dump() == {"count": 1}
    assert config.in_force(settings, tmp_path)["own"] == Listed("own", "My own", "the first templates", "text")
    with pytest.raises(NolaError, match=re.escape("unknown key 'own.cout': did you mean 'count'?")):
        config.parse({**values, "own": {"cout": 1}}, root=tmp_path)


def test_an_edited_file_is_loaded_again_and_an_untouched_one_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, "own")
    first = methods.find("own", tmp_path)
    assert methods.find("own", tmp_path) is first
    path.write_text(OWN.replace("My own", "Mine"))
    assert methods.find("own", tmp_path).title == "Mine"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("METHOD =", "OTHER =", "it must hold its method as METHOD = ..., an instance of nola_core.methods.method.Method."),
        ("Own()", "Own", "it must hold its method as METHOD = ..., an instance of nola_core.methods.method.Method."),
        ('"own", "My', '"mine", "My', "the method is called 'mine', but its file 'own'; give both one name."),
        ('"own", "My', '"My-own", "My', "the name 'My-own' may hold only a-z, 0-9 and _ and begins with a letter."),
        ("name, title, summary, section", "name, x, summary, section", "the method lacks title."),
        ("count: Positive = 2", "count: Positive", "every option needs a default; give one to count."),
        ('templates", Options', 'templates", int', "the method's section must be a class derived from nola_core.schema.Section."),
        ("METHOD = Own()", "1 / 0", "cannot be loaded (ZeroDivisionError: division by zero)."),
        ("METHOD = Own()", "raise SystemExit(3)", "cannot be loaded (SystemExit: 3)."),
        (
            "METHOD = Own()",
            "import no_such_package",
            "cannot be loaded (ModuleNotFoundError: No module named 'no_such_package').",
        ),
        ("METHOD = Own()", "METHOD = (", "cannot be loaded (SyntaxError: '(' was never closed (own.py, line 14))."),
        ("def texts", "def text", "cannot be loaded (TypeError: Can't instantiate abstract class Own with abstract method"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_names_it(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert OWN.count(old) == 1
    path = write(tmp_path, "own", OWN.replace(old, new))
    with pytest.raises(NolaError) as error:
        methods.find("own", tmp_path)
    assert str(error.value).startswith(str(path)) and sentence in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(NolaError, match=re.escape(f"params.yaml: methods: {path}")):
        config.parse({"methods": ["own"], "final": "own"}, root=tmp_path)


def test_an_unknown_name_is_answered_with_similar_ones(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, f"other{number}")
    with pytest.raises(NolaError, match=f"there is no method 'cdee'; most similar of {len(OURS) + 10}: cde"):
        methods.find("cdee", tmp_path)


@pytest.mark.parametrize("name", ["cde", "registry"])
def test_a_file_never_hides_what_is_ours_or_is_hidden_by_it(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, OWN.replace('"own"', f'"{name}"'))
    with pytest.raises(NolaError, match=re.escape(f"{path}: NoLA has a method or module '{name}' of its own; give")):
        methods.find(name, tmp_path)
    if name == "cde":
        assert methods.find(name).title == "Descriptions (CDE)"


@pytest.mark.parametrize("name", ["select", "seed", "options", "copy"])
def test_a_method_is_not_called_as_something_else_in_params(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, OWN.replace('"own"', f'"{name}"'))
    with pytest.raises(NolaError, match=f"a method cannot be called '{name}', which means something else there; rename it"):
        config.parse({"methods": ["cde", name], "final": "cde"}, root=tmp_path)


def test_a_registered_method_is_known_to_this_process() -> None:
    method = methods.register(Registered())
    assert methods.register(method) is method and methods.find("registered") is method
    assert "registered" in methods.names()
    assert config.parse({"methods": ["registered"], "final": "registered"}).methods == ["registered"]
    with pytest.raises(NolaError, match="there is a method 'registered' already; choose another name for Registered"):
        methods.register(Registered())
    with pytest.raises(NolaError, match="there is a method 'templates' already; choose another name for Templates"):
        methods.register(Templates())
    with pytest.raises(NolaError, match="register: it must hold its method"):
        methods.register(Registered)  # type: ignore[arg-type]


def test_methods_in_force_survive_json_and_know_their_baseline() -> None:
    settings = config.parse({"methods": ["nola", "zero_shot"], "teacher": "cde"})
    mine = config.in_force(settings)
    assert mine.names == ["nola", "zero_shot"] and mine.baseline == "zero_shot"
    assert (mine.text_classifier, mine.teacher, mine.final) == ("cde", "cde", "nola")
    assert InForce.of(mine.values()) == mine
    assert config.in_force(config.parse({"methods": ["nola", "cde"]})).baseline == "nola"


def test_settings_and_titles_are_read_without_torch() -> None:
    code = "from nola_core import config; print(config.in_force(config.parse({})).names); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "open_clip", "timm"} & set(done.stdout.split())
