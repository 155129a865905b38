"""What a word on the command line stands for: a data set, its folder, its model, or what `nola adapt` has written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.commands.place import WORK, Place, find_place
from nola_core.errors import NolaError
from tests.explore.example import write_explored


def test_a_model_stands_for_the_data_set_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_explored(tmp_path, pictures=False)
    monkeypatch.chdir(tmp_path)
    model = Path("data") / "toy" / "model"
    model.mkdir()
    assert [find_place(wanted) for wanted in ("toy", str(model), str(model.parent))] == [Place(Path(), "toy")] * 3
    (tmp_path / "toy-model").mkdir()
    (tmp_path / "toy-model" / "model.json").touch()
    with pytest.raises(NolaError, match="is a model without its images; name the data set instead"):
        find_place("toy-model")
    with pytest.raises(NolaError, match="there is no data set 'tyo'; there are: toy"):
        find_place("tyo")


def test_the_folder_of_adapt_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = Path("out") / WORK / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"images": "photos", "agreed": None}))
    with pytest.raises(NolaError, match="out holds no finished run; run the same `nola adapt` again"):
        find_place("out")
    record.write_text(json.dumps({"images": "photos", "dataset": "photos", "agreed": None}))
    expected = Place(Path("out") / WORK, "photos", Path("out"))
    assert find_place("out") == find_place("out/model") == expected and expected.name == "out"
    assert expected.again == "nola adapt ... -o out, as before"
    assert find_place("photos") == expected, "the name that its report has for it"
    (Path("copy") / WORK).mkdir(parents=True)
    (Path("copy") / WORK / "run.json").write_text(record.read_text())
    with pytest.raises(NolaError, match="'photos' was adapted in copy and out; name one of these folders"):
        find_place("photos")
    write_explored(Path("out"), pictures=False)
    monkeypatch.chdir("out")
    assert find_place("toy") == Place(Path(), "toy"), "a project in that folder has data sets of its own"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NolaError, match="not inside a NoLA project"):
        find_place("elsewhere")
