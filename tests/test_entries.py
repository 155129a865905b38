"""Which stages an edit touches: the entries of a real project before and after it, for all stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nola_core import inputs
from nola_core.backbones import pairs
from nola_core.errors import NolaError
from tests.project import change
from tests.resolved import code, correct, edited, entries, make, new_weights, replace, write_audit
from tests.tiny import write_photos

TRAINING = [stage for stage in inputs.STAGES if stage not in ("prepare", "evaluate", "report")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs") / "p")


@pytest.fixture(scope="module")
def unedited(template: Path) -> dict[bool, dict[str, Any]]:
    """The entries of `project`, by the code in it and by this process; they are the same wherever it lies."""
    return {own: entries(template, own=own) for own in (True, False)}


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project with a copy of the code, so that the code can be edited."""
    return shutil.copytree(template, tmp_path / "p")


OF_CLIP = {"embed clip", "classify", "tune", "predict"}
OPENS_IMAGES = {"prepare", "embed clip", "embed ssl", "tune", "predict", "report"}
EDITS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a comment in the reader in force": (
        lambda p: replace(p / "nola_core/datasets/readers/folder.py", "from __future__", "# A comment.\nfrom __future__"),
        set(),
    ),
    "code of another reader": (
        lambda p: replace(p / "nola_core/datasets/readers/webdataset.py", "from __future__", "EXTRA = 1\nfrom __future__"),
        set(),
    ),
    "code of the reader in force": (
        lambda p: replace(p / "nola_core/datasets/readers/folder.py", "import os\n", "import os\n\nEXTRA = 1\n"),
        {"prepare"},
    ),
    "a comment in the hub's client": (
        lambda p: replace(p / "nola_core/backbones/hub.py", "from __future__", "# A comment.\nfrom __future__"),
        set(),
    ),
    "a new pair in pairs.yaml": (
        lambda p: replace(p / "nola_core/backbones/pairs.yaml", "\npairs:\n", "\npairs:\n  mine: {clip: demo, ssl: dino}\n"),
        set(),
    ),
    "another model under the pair's name": (
        lambda p: replace(p / "nola_core/backbones/pairs.yaml", 'demo: {model: "package:demo/ssl"', 'demo: {model: "other"'),
        {"embed ssl", "predict"},
    ),
    "a comment in a catalog entry": (
        lambda p: replace(p / "nola_core/datasets/catalog/dtd.yaml", "title:", "# A comment.\ntitle:"),
        set(),
    ),
    "an answer of an audit": (lambda p: write_audit(p), {"evaluate"}),
    "a corrected train image": (
        lambda p: correct(p, "image,cat/000.png,dog"),
        {"select", "fit", "tune", "predict", "evaluate"},
    ),
    "a corrected test image": (lambda p: correct(p, "image,cat/001.png,dog"), {"predict", "evaluate"}),
    "a merged class": (lambda p: correct(p, "merge,cat,dog"), {"prepare", "describe", "predict", "evaluate"}),
    "a new class": (lambda p: correct(p, "class,fox,"), {"prepare", "describe", "predict", "evaluate"}),
    "corrections that are switched off": (
        lambda p: (correct(p, "merge,cat,dog"), change(p / "data/blobs.yaml", "corrections", value=False)),
        set(),
    ),
    "corrections that are switched off for all": (
        lambda p: (correct(p, "no such table"), change(p / "params.yaml", "corrections", value=False)),
        set(),
    ),
    "labels: folders -> none": (lambda p: change(p / "data/blobs.yaml", "images", "labels", value="none"), {"prepare"}),
    "the class file": (lambda p: (p / "names.txt").write_text("cat\ndog\nsparrow\n"), {"prepare"}),
    "CLIP's weights": (new_weights, OF_CLIP),
    "a file of a model that comes with NoLA": (
        lambda p: replace(p / "nola_core/backbones/demo/ssl/config.json", "bicubic", "bilinear"),
        {"embed ssl", "predict"},
    ),
    "the code that decodes": (
        lambda p: replace(
            p / "nola_core/datasets/image.py",
            'white = Image.new("RGB", image.size, "white")',
            'white = Image.new("RGB", image.size, "gray")',
        ),
        OPENS_IMAGES,
    ),
    "a new photograph": (lambda p: write_photos(p / "photos" / "new", count=1), {"prepare"}),
    "a photograph replaced": (lambda p: (p / "photos" / "cat" / "000.png").write_bytes(b"other"), {"prepare"}),
    "the table of descriptions": (lambda p: replace(p / "demo/descriptions.csv", "kind 1", "kind 7"), {"describe"}),
    "a prompt set of one's own": (
        lambda p: (p / "mine.yaml").write_text((p / "mine.yaml").read_text() + "# A comment.\n"),
        set(),
    ),
    "a prompt": (lambda p: replace(p / "mine.yaml", "What", "How"), {"describe"}),
    "templates": (
        lambda p: change(p / "data/blobs.yaml", "templates", value=["a {}."]),
        {"classify", "tune", "predict", "report"},
    ),
    "select.fraction": (lambda p: change(p / "params.yaml", "select", "fraction", value=0.5), {"select", "report"}),
    "nola.epochs": (lambda p: change(p / "params.yaml", "nola", "epochs", value=9), {"tune", "predict", "report"}),
    "alignment.epochs": (lambda p: change(p / "params.yaml", "alignment", "epochs", value=9), {"fit", "predict", "report"}),
    "cde.texts": (lambda p: change(p / "params.yaml", "cde", "texts", value="templates"), {"classify", "predict", "report"}),
    "classify.keep": (lambda p: change(p / "params.yaml", "classify", "keep", value="separating"), {"classify", "report"}),
    "the seed": (lambda p: change(p / "params.yaml", "seed", value=9), {"fit", "tune", "report"}),
    "the preset": (lambda p: change(p / "params.yaml", "preset", value="best"), {"predict", "report"}),
    "a method left out": (
        lambda p: change(p / "params.yaml", "methods", value=["zero_shot", "cde", "alignment", "nola"]),
        {"classify", "predict", "evaluate", "report"},
    ),
    "the teacher left out of the tables": (
        lambda p: change(p / "params.yaml", "methods", value=["zero_shot", "templates", "cde", "nola"]),
        {"predict", "evaluate", "report"},
    ),
    "methods in another order": (
        lambda p: change(p / "params.yaml", "methods", value=["nola", "zero_shot", "templates", "cde", "alignment"]),
        {"evaluate", "report"},
    ),
    "the student left out": (
        lambda p: (
            change(p / "params.yaml", "methods", value=["zero_shot", "templates", "cde", "alignment"]),
            change(p / "params.yaml", "final", value="cde"),
        ),
        {"tune", "predict", "evaluate", "report"},
    ),
    "the final method": (lambda p: change(p / "params.yaml", "final", value="cde"), {"predict", "evaluate", "report"}),
    "the teacher": (lambda p: change(p / "params.yaml", "teacher", value="cde"), {"fit", "evaluate", "report"}),
    "the text classifier": (
        lambda p: change(p / "params.yaml", "text_classifier", value="templates"),
        {"classify", "fit", "tune", "predict", "evaluate", "report"},
    ),
    "a comment in a method": (lambda p: code(p, "methods/zero_shot.py", "# A comment."), set()),
    "code of a text method": (lambda p: code(p, "methods/zero_shot.py"), {"classify", "predict"}),
    "code of the text classifier": (lambda p: code(p, "methods/cde.py"), {"classify", "fit", "tune", "predict"}),
    "code of the teacher": (lambda p: code(p, "methods/alignment.py"), {"fit", "predict"}),
    "code of its head": (lambda p: code(p, "alignment.py"), {"fit", "predict"}),
    "code of a student": (lambda p: code(p, "methods/nola.py"), {"tune", "predict"}),
    "code of its tuning": (lambda p: code(p, "students/loop.py"), {"tune", "predict"}),
    "code of a method that does not run": (
        lambda p: (p / "nola_core/methods/idle.py").write_text("from nola_core.alignment import nothing\n"),
        set(),
    ),
    "a method's title": (
        lambda p: replace(p / "nola_core/methods/zero_shot.py", '"Zero-shot"', '"One template"'),
        {"classify", "predict", "evaluate"},  # the report reads titles in metrics.json
    ),
    "the report's template": (
        lambda p: replace(p / "nola_core/report/page/page.html", "<body", "<!-- --><body"),
        {"report"},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_touches_the_stages_that_depend_on_it_and_no_other(
    project: Path, unedited: dict[bool, dict[str, Any]], edit: str
) -> None:
    make, expected = EDITS[edit]
    if "prompt" in edit:
        change(project / "params.yaml", "describe", "provider", value="llm")
        change(project / "params.yaml", "describe", "prompts", value="mine.yaml")
        unedited = {False: entries(project)}
    make(project)
    own = edited(project)
    before, after = unedited[own], entries(project, own=own)
    assert {stage for stage in after if after[stage] != before[stage]} == expected


def test_new_captions_touch_the_students_that_read_them_and_no_others(project: Path) -> None:
    def resolved() -> dict[str, Any]:
        inputs.write(project)
        return dict(json.loads((project / "data" / "inputs" / "blobs.json").read_text()))

    file = project / "data" / "blobs" / "captions.parquet"
    file.parent.mkdir(exist_ok=True)
    without = resolved()
    file.write_bytes(b"old")
    assert resolved() == without
    change(project / "params.yaml", "methods", value=["zero_shot", "cde", "alignment", "nola", "latteclip"])
    before, tune = resolved(), inputs.read(project, "blobs", "tune")
    inputs.check(project, "blobs", "tune", tune)
    file.write_bytes(b"new!")
    with pytest.raises(NolaError, match="the captions changed since this run began"):
        inputs.check(project, "blobs", "tune", tune)
    after = resolved()
    assert {stage for stage in after if after[stage] != before[stage]} == {"tune"}
    file.unlink()
    assert resolved()["tune"]["captions"] is None


def keys(value: Any) -> set[str]:
    """Every key at any depth."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys(inner)}
    return {key for inner in value for key in keys(inner)} if isinstance(value, list) else set()


def test_no_entry_of_a_training_stage_says_where_labels_are(project: Path) -> None:
    change(project / "data" / "blobs.yaml", "images", "labels", value="reader")
    change(
        project / "data" / "blobs.yaml",
        "images",
        value={"reader": "table", "holdout": 0, "labels": "reader", "label_column": "x"},
    )
    found = entries(project)
    assert "labels" in keys(found["prepare"])
    for stage, entry in found.items():
        if stage.split()[0] in TRAINING:
            assert not {key for key in keys(entry) if "label" in key} - {"label_smoothing"}, stage


def test_entries_are_the_same_wherever_the_project_lies(project: Path, tmp_path: Path) -> None:
    inputs.write(project)
    before = (project / "data" / "inputs" / "blobs.json").read_bytes()
    project.rename(tmp_path / "elsewhere")
    inputs.write(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "data" / "inputs" / "blobs.json").read_bytes() == before


def test_every_yaml_and_html_file_of_the_package_is_an_input_of_somebody() -> None:
    """A new kind of file must be thought about: resolved by content, part of a fingerprint, or without effect on results."""
    resolved = {"backbones/pairs.yaml"}
    no_result = {"descriptions/prices.yaml", "captions.yaml", "trust/page.html", "explore/page.html"}  # costs; what commands show
    folders = (
        "backbones/demo",
        "datasets/catalog",
        "descriptions/prompt_sets",
        "presets",
        "report/page",
    )  # hashed or by name; presets through the report's overrides
    package = Path(pairs.__file__).parent.parent
    for path in package.rglob("*"):
        name = path.relative_to(package).as_posix()
        if path.suffix in (".yaml", ".html", ".json", ".txt"):
            assert name in resolved | no_result or name.startswith(folders), name
