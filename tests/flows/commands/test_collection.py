"""`nola add` and `nola remove` from a sub-folder of the project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nola_core.datasets.definition import load_definition
from tests.flows.commands.conftest import Nola
from tests.project import ROOT
from tests.tiny import write_photos


def test_paths_are_relative_to_where_the_user_stands(tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("params.yaml", "dvc.yaml", "data/digits.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    here = tmp_path / "deep" / "er"
    write_photos(here / "photos", count=4)
    (here / "names.txt").write_text("cat\ndog\n")
    monkeypatch.chdir(here)
    before = (tmp_path / "params.yaml").read_text()
    words = ("--classes", "names.txt", "--backbones", "demo", "--template", "a {}.", "--template", "the {}.")
    out, err = nola("add", "pets", "photos", *words)
    assert out == "../../data/pets.yaml\n"
    assert "images (reader folder), 2 classes: cat, dog\n" in err and err.endswith("next: nola run --dataset pets\n")
    monkeypatch.chdir(tmp_path)
    definition = load_definition(tmp_path, "pets")
    assert Path(definition.source).resolve() == here / "photos"
    assert (definition.classes, definition.templates) == (["cat", "dog"], ["a {}.", "the {}."])
    monkeypatch.chdir(here)
    assert nola("add", "pets", "photos", *words, "--force", "--quiet") == ("../../data/pets.yaml\n", "")
    out = nola("add", "pets", "photos", *words, "--force", "--quiet", "--json")[0]
    found = json.loads(out)
    assert sum(found.pop("images").values()) == 4
    assert found == {"definition": "../../data/pets.yaml", "reader": "folder", "classes": ["cat", "dog"], "warning": ""}
    assert nola("add", "pets", "photos", *words, status=1)[1].startswith("error: a data set 'pets' already exists")
    out, err = nola("remove", "pets")
    assert out == "" and err.startswith("removed data/pets.yaml")
    assert (tmp_path / "params.yaml").read_text() == before and not (tmp_path / "data" / "pets.yaml").exists()


def test_names_that_no_english_model_can_know_are_a_warning(tmp_path: Path, nola: Nola, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("params.yaml", "dvc.yaml", "data/digits.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    write_photos(tmp_path / "photos", count=4)
    monkeypatch.chdir(tmp_path)
    *_, first, second, last = nola("add", "keys", "photos", "--classes", "n01440764,Schlüssel,door", "--backbones", "demo")[
        1
    ].splitlines()
    assert first.startswith("warning: no model can know what these names mean: n01440764; give words")
    assert second.startswith("warning: most models know English alone") and "letters: Schlüssel;" in second
    assert last == "next: nola run --dataset keys"
