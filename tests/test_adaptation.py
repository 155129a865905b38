"""One call from images to a classifier: the pipeline's result, and what is wrong said before anything long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

import nola_core
from nola_core.errors import NolaError
from tests.project import CLASSES, make_project, run

SETTINGS: dict[str, Any] = {
    "select": {"min_per_class": 2},
    "alignment": {"epochs": 3, "hidden": 8},
    "nola": {"epochs": 3, "batch_size": 8, "prompt_tokens": 2},
}
STAGES = ("prepare", "describe", "embed clip", "embed ssl", "classify", "select", "fit", "tune", "predict")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def pair(project: Path) -> dict[str, Any]:
    return {role: {"model": f"local-dir:{project / 'demo' / role}"} for role in ("clip", "ssl")}


def test_it_gives_the_pipelines_bits(project: Path, pair: dict[str, Any]) -> None:
    from tests.project import change, write_definition

    write_definition(project, "blobs", descriptions=None, holdout=0.0)
    for stage in STAGES:
        assert run(project, stage) == 0
    expected = pd.read_parquet(project / "data" / "blobs" / "predictions.parquet")
    expected = expected[expected["method"] == "nola"].set_index("image_id")
    model = nola_core.adapt(
        project / "photos",
        CLASSES,
        backbones=pair,
        templates=["a photo of a {}.", "a drawing of a {}."],
        settings=SETTINGS,
        quiet=True,
    )
    table = model.predictions
    assert table is not None
    assert table["probability"].tolist() == expected.loc[table["image"], "probability"].tolist()
    assert model.predict(project / "photos", quiet=True).equals(table)
    change(project / "params.yaml", "final", value="nola")


def test_opened_images_and_another_method_and_a_second_call(
    project: Path, pair: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [Image.open(path) for path in sorted((project / "photos").rglob("*.png"))]
    settings = {**SETTINGS, "methods": ["cde", "alignment"], "final": "alignment"}
    texts = {name: [f"a {name} with a tail"] for name in CLASSES}

    def adapt() -> nola_core.Classifier:
        return nola_core.adapt(images, CLASSES, backbones=pair, descriptions=texts, settings=settings, folder=tmp_path / "work")

    model = adapt()
    assert model.predictions is not None and model.predictions["image"].tolist() == [str(number) for number in range(24)]
    assert model.method == "alignment" and "24 of them embedded now" in capsys.readouterr().out
    again = adapt()
    assert capsys.readouterr().out == ""  # nothing was done again
    assert torch.equal(model.probabilities(images), again.probabilities(images))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"class_names": "cat"}, "class_names must be a list of at least two names"),
        ({"class_names": ["cat"]}, "class_names must be a list of at least two names"),
        ({"images": "nowhere"}, "nowhere does not exist"),
        ({"settings": {"nola": {"epoch": 3}}}, "settings: unknown key 'nola.epoch': did you mean 'epochs'"),
        ({"settings": {"final": "astrology"}}, "settings: final: there is no method 'astrology'"),
        ({"templates": "a photo"}, "template 'a photo' must contain {} exactly once"),
        ({"descriptions": {"cow": ["moo"]}}, "descriptions names 'cow', which is none of the class names"),
        ({"descriptions": {"cat": ["purrs"]}}, "descriptions has no sentence about 'dog'"),
        ({"backbones": "papper"}, "has no backbone pair 'papper'; did you mean 'paper'"),
    ],
)
def test_a_wrong_argument_is_named(project: Path, pair: dict[str, Any], change: dict[str, Any], sentence: str) -> None:
    arguments = {"images": project / "photos", "class_names": list(CLASSES), "backbones": pair, "settings": SETTINGS} | change
    with pytest.raises(NolaError, match=sentence):
        nola_core.adapt(arguments.pop("images"), arguments.pop("class_names"), quiet=True, **arguments)


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_images_than_names(
    project: Path, pair: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    images = sorted((project / "photos").rglob("*.png"))[:: 24 // count][:count]
    names = [*CLASSES, "owl", "horse", "cow", "newt"]
    settings = {**SETTINGS, "methods": ["zero_shot", "cde", "alignment", "evidence", "nola"]}
    model = nola_core.adapt(images, names, backbones=pair, settings=settings, folder=tmp_path)
    said = capsys.readouterr().out
    assert f"WARNING: {count} usable train image{'s' * (count > 1)} for 7 classes" in said
    assert "No group of similar images was found that fits none of the names." in said
    assert model.predictions is not None and len(model.predictions) == count
    proportions = pd.read_parquet(tmp_path / "data/images/class_proportions.parquet")
    assert proportions["predicted"].sum() == count and proportions["proportion"].sum() == pytest.approx(1)
    unknown = pd.read_parquet(tmp_path / "data/images/unknown.parquet")
    assert len(unknown) == count and unknown["score"].between(-1e-6, 2).all()


def test_a_name_in_a_notebook_does_not_become_the_module() -> None:
    import nola_core.adaptation  # a module called like the function would replace it on the package

    assert callable(nola_core.adapt) and callable(nola_core.load)
