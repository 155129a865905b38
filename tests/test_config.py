"""params.yaml: what is wrong is named together with what is allowed; presets are written without touching the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nola_core import config
from nola_core.errors import NolaError
from tests.collection import PARAMS

ROOT = PARAMS.parent


def changed(key: str, value: Any) -> dict[str, Any]:
    """The real params.yaml with one dotted key set."""
    values = yaml.safe_load(PARAMS.read_text())
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    return values


def test_the_projects_own_params_are_sound_and_equal_their_preset() -> None:
    settings = config.load(ROOT)
    assert settings.overrides() == []
    assert settings.alignment.epochs == 50 and "digits" in settings.datasets


def test_params_show_every_setting_with_its_default() -> None:
    values = yaml.safe_load(PARAMS.read_text())
    shown = config.parse(values).model_dump()
    assert config.parse({}).model_dump() == {**shown, "datasets": []}
    sections = {key: set(value) for key, value in values.items() if isinstance(value, dict)}
    assert sections == {key: set(value) for key, value in shown.items() if isinstance(value, dict) and value}
    assert set(shown) - set(values) == {"zero_shot", "templates"}, "which have no options"
    del values["seed"], values["nola"]["epochs"], values["select"]
    assert config.parse(values).model_dump() == shown


def test_a_student_needs_a_text_classifier_with_one_embedding_a_class() -> None:
    with pytest.raises(NolaError, match="text_classifier = 'perception' has no embedding of each class, which nola starts from"):
        config.parse({"text_classifier": "perception"})
    without = {"methods": ["perception", "alignment"], "text_classifier": "perception", "final": "alignment"}
    assert config.parse(without).text_classifier == "perception"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("alignment.hiden", 3, "unknown key 'alignment.hiden': did you mean 'hidden'?"),
        ("describe.zzz", 3, "unknown key 'describe.zzz': allowed are provider, mode, prompts, model, "),
        ("datasets", {"digits": {"images": "x"}}, "datasets = {'digits': {'images': 'x'}}: must be a valid list."),
        ("datasets", ["digits", "pets", "digits"], "datasets lists 'digits' more than once; take the others out."),
        ("alignmet", {}, "unknown key 'alignmet': did you mean 'alignment'?"),
        ("cde.texts", "all", "cde.texts = 'all': must be 'both', 'descriptions' or 'templates'."),
        ("zero_shot", {"epochs": 3}, "unknown key 'zero_shot.epochs': zero_shot takes no keys."),
        ("alignment.hidden", 0, "alignment.hidden = 0: must be greater than or equal to 1."),
        ("alignment.hidden", True, "alignment.hidden = True: must be a valid integer."),
        ("seed", -1, "seed = -1: must be greater than or equal to 0."),
        ("select.fraction", 1.5, "select.fraction = 1.5: must be less than or equal to 1."),
        ("nola.weight_decay", float("nan"), "nola.weight_decay = nan: must be a finite number."),
        ("describe.provider", "web", "describe.provider = 'web': must be 'table', 'llm' or 'none'."),
        ("preset", "fast", "preset = 'fast': must be 'paper' or 'best'."),
        ("alignment", None, "'alignment' must hold `key: value` lines; found None."),
        ("select.max_per_class", 3, "select.max_per_class is below select.min_per_class."),
        ("datasets", ["Cats-1"], "data set name 'Cats-1' may hold only a-z, 0-9 and _"),
        ("datasets", ["digits", "_x"], "data set name '_x' may hold only a-z, 0-9 and _"),
        ("methods", [], "methods = []: "),
        ("methods", "nola", "methods = 'nola': must be a valid list."),
        ("methods", ["cde", "nola", "cde"], "methods lists 'cde' more than once; take the others out."),
        (
            "methods",
            ["cde", "nole", "nola"],
            "methods: there is no method 'nole'; most similar of ",
        ),
        ("methods", ["cde"], "final = 'nola' is not one of methods; add it there, or choose cde."),
        ("text_classifier", "clip", "text_classifier: there is no method 'clip'; most similar of "),
        ("text_classifier", "alignment", "text_classifier = 'alignment' is a features method; choose one of the kind text."),
        ("teacher", "nola", "teacher = 'nola' is a student method; choose one of the kind text or features."),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(NolaError, match=re.escape(f"params.yaml: {sentence}")):
        config.parse(changed(key, value))


def test_all_wrong_keys_are_listed_at_once() -> None:
    values = changed("alignment.hiden", 3)
    values["seed"] = "x"
    with pytest.raises(NolaError, match=r"seed = 'x': must be a valid integer; .*'alignment.hiden'"):
        config.parse(values)


@pytest.mark.parametrize(("text", "advice"), [("1e-3", "write 0.001."), ("4E-6", "write 4.0e-06.")])
def test_a_number_that_yaml_takes_for_text_comes_with_how_to_write_it(tmp_path: Path, text: str, advice: str) -> None:
    line = "learning_rate: 0.001"
    assert line in PARAMS.read_text()
    (tmp_path / "params.yaml").write_text(PARAMS.read_text().replace(line, f"learning_rate: {text}"))
    with pytest.raises(NolaError, match=re.escape(f"alignment.learning_rate = '{text}' is text to YAML, not a number; {advice}")):
        config.load(tmp_path)
    number = advice.removeprefix("write ").removesuffix(".")
    (tmp_path / "params.yaml").write_text(PARAMS.read_text().replace(line, f"learning_rate: {number}"))
    assert config.load(tmp_path).alignment.learning_rate == float(text)


def test_overrides_name_key_value_and_the_presets_value() -> None:
    values = changed("alignment.epochs", 7)
    values["select"]["max_per_class"] = 40
    values["duplicates"]["neighbors"] = 9  # in no preset, so no override
    overrides = config.parse(values).overrides()
    assert overrides == ["select.max_per_class=40 (preset paper: None)", "alignment.epochs=7 (preset paper: 50)"]
    assert config.parse(changed("teacher", "cde")).overrides() == ["teacher=cde (preset paper: alignment)"]


def test_writing_a_preset_changes_its_values_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    original = PARAMS.read_text()
    edited = (
        original.replace("  epochs: 50", "  epochs: 3     # for a quick look", 1)
        .replace("max_per_class: null", "max_per_class: 20")
        .replace("  learning_rate: 0.001", "  learning_rate: 1.0e-05")
        .replace("calibration_bins: 15", "calibration_bins: 10")
        .replace("teacher: alignment   ", "teacher: zero_shot   ")
    )
    assert edited != original
    path.write_text(edited)
    assert len(config.load(tmp_path).overrides()) == 4

    config.write_preset(path, "best")
    settings = config.load(tmp_path)
    assert settings.preset == "best" and settings.overrides() == []
    assert settings.evaluate.calibration_bins == 10
    assert "  epochs: 50     # for a quick look" in path.read_text()

    assert settings.final == settings.teacher == "evidence" and settings.text_classifier == "templates"

    config.write_preset(path, "paper")
    restored = path.read_text().replace("     # for a quick look", "").replace("calibration_bins: 10", "calibration_bins: 15")
    assert restored == original


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "params.yaml does not exist."),
        ("a: [1, 2", "params.yaml is no valid YAML"),
        ("- a\n- b\n", "params.yaml must hold `key: value` lines; found list."),
        ("", "params.yaml must hold `key: value` lines; found NoneType."),
    ],
)
def test_a_file_that_is_no_mapping_is_one_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(NolaError, match=re.escape(sentence)):
        config.load(tmp_path)


def test_a_presets_final_method_joins_the_list_and_its_parts_are_added_where_they_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("methods: [cde, nola]   # mine\nnola: {epochs: 3}\n")
    config.write_preset(path, "best")
    assert path.read_text().splitlines()[0] == "methods: [cde, nola, evidence]   # mine"
    settings = config.load(tmp_path)
    assert (settings.methods, settings.teacher, settings.final) == (["cde", "nola", "evidence"], "evidence", "evidence")
