"""data/<name>.yaml: valid definitions and all mistakes in one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from nola_core.datasets.definition import ReaderName, load_definition
from nola_core.errors import NolaError
from tests.collection import PARAMS, write_collection

IMAGES = {"reader": "folder", "holdout": 0, "labels": "none"}
READERS = get_args(ReaderName)


def test_the_embedded_default() -> None:
    definition = load_definition(PARAMS.parent, "digits")
    assert definition.images.reader == "digits" and definition.images.holdout == 500
    assert isinstance(definition.classes, list) and len(definition.classes) == 10 and definition.backbones == "demo"
    assert definition.descriptions == str(PARAMS.parent / "demo" / "descriptions.csv")


def test_paths_are_taken_from_the_project(tmp_path: Path) -> None:
    definition = load_definition(write_collection(tmp_path, classes="names.txt", descriptions="said.csv"), "toy")
    assert (definition.source, definition.classes) == (str(tmp_path / "images"), str(tmp_path / "names.txt"))
    assert definition.descriptions == str(tmp_path / "said.csv")
    definition = load_definition(write_collection(tmp_path, source="/elsewhere", classes="folders"), "toy")
    assert (definition.source, definition.classes, definition.descriptions) == ("/elsewhere", "folders", None)


def test_an_unknown_data_set_is_named_with_the_known_ones(tmp_path: Path) -> None:
    write_collection(tmp_path)
    with pytest.raises(NolaError, match=re.escape("params.yaml has no data set 'tyo' (it has: toy); add it to `datasets`")):
        load_definition(tmp_path, "tyo")
    (tmp_path / "data" / "toy.yaml").unlink()
    with pytest.raises(NolaError, match=r"data/toy.yaml does not exist"):
        load_definition(tmp_path, "toy")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"classes": ["cat", None, "dog"]}, "class 2 of 3 has no name; give it one."),
        ({"classes": ["cat", "dog", True]}, "class 3 of 3 is True, which YAML does not read as text; put it in quotes."),
        ({"classes": [1, 2]}, "class 1 of 2 is 1, which YAML does not read as text; put it in quotes."),
        ({"classes": {"cat": 1}}, "classes must be a list of names, a text file with one name per line, `folders` or `reader`."),
        ({"classes": None}, "classes must be a list of names, a text file with one name per line, `folders` or `reader`."),
        ({"templates": []}, "templates = []: List should have at least 1 item"),
        (
            {"images": {**IMAGES, "reader": "floder"}},
            f"reader = 'floder': must be {', '.join(map(repr, READERS[:-1]))} or {READERS[-1]!r}.",
        ),
        ({"images": {**IMAGES, "holdout": -1}}, "images.holdout = -1: must be greater than or equal to 0."),
        ({"images": {**IMAGES, "holdout": float("inf")}}, "images.holdout = inf: must be a finite number."),
        ({"images": {**IMAGES, "label": "none"}}, "unknown key 'images.label': did you mean 'labels'?"),
        ({"source": None}, "source = None: must be a valid string."),
        ({"source": "a\0b"}, "source = 'a\\x00b': a path cannot contain a zero byte; remove it."),
        ({"source": ""}, "source = '': String should have at least 1 character."),
        (
            {"images": {**IMAGES, "reader": "table", "table": "../x.csv"}},
            "images.table = '../x.csv' must be inside the folder `source`",
        ),
        (
            {"images": {**IMAGES, "reader": "table", "table": "/x.csv"}},
            "images.table = '/x.csv' must be inside the folder `source`",
        ),
        ({"images": {**IMAGES, "reader": "webdataset", "shards": ""}}, "images.shards = '' must be inside the folder `source`"),
        ({"images": {**IMAGES, "outside": True}}, "images.outside is for the readers table, huggingface, not for folder"),
        ({"name": "toy"}, "unknown key 'name'; remove it, because the file name is the name of the data set."),
        ({"clases": []}, "unknown key 'clases': did you mean 'classes'?"),
    ],
)
def test_a_wrong_key_is_one_sentence(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    write_collection(tmp_path, **keys)
    with pytest.raises(NolaError, match=r"data/toy.yaml: .*" + re.escape(sentence)) as caught:
        load_definition(tmp_path, "toy")
    said = str(caught.value)
    for advice in ("; put it in quotes", "; remove it", "; give it one", "; write a path relative to it"):
        said = said.replace(advice, "")
    assert ";" not in said


@pytest.mark.parametrize("source", [".", "data", "data/toy", "data/toy/features", "..", "data/../data"])
def test_a_source_where_the_results_go_is_refused(tmp_path: Path, source: str) -> None:
    write_collection(tmp_path / "project", source=source)
    with pytest.raises(NolaError, match=r"the results are written to .*/data/toy, which overlaps with the images in "):
        load_definition(tmp_path / "project", "toy")


@pytest.mark.parametrize(
    "template",
    [
        "a photo",
        "{} and {}",
        "{{}}",
        "a {{}} {}",
        "{} {",
        "} {}",
        "{} {0.__class__}",
        "{0}",
        "{name}",
        "{:>9}",
        "{!r} {}",
        "{ {}",
    ],
)
def test_a_template_has_one_place_for_the_name_and_no_other_braces(tmp_path: Path, template: str) -> None:
    write_collection(tmp_path, templates=["a {}.", template])
    sentence = f"data/toy.yaml: template '{template}' must contain {{}} exactly once, for the class name, and no other braces."
    with pytest.raises(NolaError, match=re.escape(sentence)):
        load_definition(tmp_path, "toy")


def test_a_source_is_asked_for(tmp_path: Path) -> None:
    write_collection(tmp_path)
    path = tmp_path / "data" / "toy.yaml"
    path.write_text(path.read_text().replace("source: images\n", ""))
    with pytest.raises(NolaError, match=r"data/toy.yaml: key 'source' is missing"):
        load_definition(tmp_path, "toy")
