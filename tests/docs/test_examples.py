"""The worked examples of docs/contributing.md work as written; every link leads to a file; every command in a sentence exists."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import timm
import typer
import yaml
from PIL import Image

from flows.cli import app
from nola_core.backbones.pairs import PAIRS, load_pair
from nola_core.datasets.definition import DatasetDefinition, Images
from nola_core.datasets.readers import Reader, open_reader
from nola_core.errors import NolaError
from nola_core.methods import registry
from nola_core.methods.collection import probabilities
from nola_core.methods.method import FeatureMethod
from nola_core.schema import validate
from tests.docs.pages import PAGES
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made
from tests.project import ROOT


def examples(language: str) -> list[str]:
    """The fenced blocks of docs/contributing.md in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "contributing.md").read_text(), re.DOTALL)


def test_the_smallest_method_is_shown_as_it_is() -> None:
    module, test, *_ = examples("python")
    assert module == (ROOT / "nola_core" / "methods" / "templates.py").read_text()
    assert test == (ROOT / "tests" / "methods" / "test_templates.py").read_text()


def test_the_example_of_a_method_is_one(tmp_path: Path) -> None:
    (block,) = (one for one in examples("python") if "FeatureMethod" in one)
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


def test_the_example_of_a_reader_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (one for one in examples("python") if "from_definition" in one)
    name = "nola_core.datasets.readers.zip"
    module = ModuleType(name)
    exec(compile(block, name, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, name, module)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for entry in ("pets/dog/2.png", "pets/cat/1.PNG", "3.png", "notes.txt"):
            archive.writestr(entry, picture.getvalue())

    def reader_of(source: Path) -> Reader:
        images = Images.model_construct(reader="zip")  # type: ignore[arg-type]
        return open_reader(DatasetDefinition.model_construct(source=str(source), images=images))

    reader = reader_of(tmp_path / "pets.zip")
    found = list(reader.scan())
    assert [(one.image_id, one.label) for one in found] == [("3.png", None), ("pets/cat/1.PNG", "cat"), ("pets/dog/2.png", "dog")]
    assert list(reader.scan()) == found and reader.class_names() == ["cat", "dog"]
    data = reader.read(path=found[1].path, shard=found[1].shard, row=found[1].row)
    assert Image.open(io.BytesIO(data)).size == (8, 8)
    with pytest.raises(OSError, match="cannot be read from the zip file"):
        reader.read(path="gone.png", shard="", row=-1)
    (tmp_path / "no.zip").write_bytes(b"text")
    for wrong in ("no.zip", "gone.zip"):
        with pytest.raises(NolaError, match=f"{wrong} cannot be read as a zip file"):
            reader_of(tmp_path / wrong)


def test_the_example_of_a_pair_is_one(tmp_path: Path) -> None:
    (block,) = examples("yaml")
    new, known = yaml.safe_load(block), yaml.safe_load(PAIRS.read_text())
    assert not any(set(new[part]) & set(known[part]) for part in known)
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump({part: known[part] | new[part] for part in known}))
    (name,) = new["pairs"]
    pair = load_pair(name, path=tmp_path / "pairs.yaml")
    assert (pair.clip.model, pair.clip.pretrained) in open_clip.list_pretrained()
    assert pair.ssl.model in timm.list_pretrained()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_in_a_sentence_exists(page: Path) -> None:
    """`nola WORDS` in backticks: each subcommand and each option is one that there is. Blocks are run by test_commands.py."""
    for words in re.findall(r"`nola ([^`|]+)`", page.read_text()):
        command = typer.main.get_command(app)
        rest = words.split()
        while hasattr(command, "commands") and rest and re.fullmatch(r"[a-z-]+", rest[0]) and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{page.name}: nola {words}"
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        wrong = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
        assert not wrong, f"{page.name}: nola {words}"
