"""What the docs show works as written: the example of a method, and every command that README and docs name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from flows.cli import app
from nola_core.methods import registry
from nola_core.methods.collection import probabilities
from nola_core.methods.method import FeatureMethod
from nola_core.schema import validate
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "demo" / "README.md", ROOT / "flows" / "starter" / "README.md", *ROOT.glob("docs/*.md")]
)


def test_the_example_of_a_method_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(), re.DOTALL)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "nearest_mean.py").write_text(block)
    method = registry.find("nearest_mean", tmp_path)
    assert isinstance(method, FeatureMethod)
    options = validate(method.section, {"scale": 30.0}, source="params.yaml")
    collection, truth = made([20] * 4)
    fitted = method.fit(collection, options=options, seed=0)
    answers = probabilities(fitted, features(collection)).argmax(dim=1)
    assert (answers == truth).float().mean() > 0.8
    is_restored(method, fitted, features(collection), tmp_path)
    survives(method, options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_a_page_names_exists(page: Path) -> None:
    """`nola WORDS` in code, indented or in backticks: each subcommand and each option is one that there is."""
    text = page.read_text().replace("\\\n", " ")
    code = [line for line in text.splitlines() if line.startswith("    ")] + re.findall(r"`(nola [^`]+)`", text)
    found = [match for line in code for match in re.findall(r"^(?:\s*|\s*\$ )nola (?=\S)([^#|;&]*)", line)]
    root = typer.main.get_command(app)
    for words in found:
        command = root
        rest = words.split()
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            name = rest.pop(0).strip(",.")
            if not re.fullmatch(r"[a-z-]+", name):  # such as COMMAND
                break
            assert name in command.commands, f"{page.name}: nola {words}"
            command = command.commands[name]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        for word in rest:
            if re.match(r"--?[a-z]", word) and "=" not in word:
                assert word.strip("`,.:;)") in options, f"{page.name}: nola {words}"
