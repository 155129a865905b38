"""What open_clip alone predicts with the exported weights is what the student predicts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nola_core.errors import NolaError
from nola_core.exports import openclip
from nola_core.files import read_json
from tests.exports.tuned import NAMES, images, student


@pytest.mark.parametrize(("tune", "scale"), [(["norms", "lora", "classifier"], 20.0), (["singular_values", "classifier"], None)])
def test_open_clip_alone_gives_the_same_answers(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tune: list[str],
    scale: float | None,
) -> None:
    model, shown = student(folder, tune, scale=scale), images(11)
    before = model.probabilities(shown)
    check = openclip.write(model, tmp_path / "out", iter(shown))
    assert check["images"] == check["same_answers"] == 11 and check["largest_difference"] < 1e-4
    assert (model.probabilities(shown) - before).abs().max() < 1e-5
    record = read_json(tmp_path / "out" / "model.json")
    assert record["check"] == check and record["classes"] == NAMES
    readme = (tmp_path / "out" / "README.md").read_text()
    (code,) = re.findall("```python\n(.*?)```", readme, re.DOTALL)
    shown[3].save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("path/to/this/folder", "out").replace("photo.jpg", "photo.png"), found := {})
    assert abs(found["probabilities"] - before[3]).max() < 1e-4
    assert capsys.readouterr().out.strip() == NAMES[int(before[3].argmax())]


def test_what_open_clip_cannot_hold_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NolaError, match=r"cannot take up tokens; set `tune` of nola in params\.yaml to parts that merge"):
        openclip.write(student(folder, ["tokens", "norms"]), tmp_path / "out", images(2))
    with pytest.raises(NolaError, match="no image to check the model on"):
        openclip.write(student(folder, ["norms"]), tmp_path / "out", [])
    classes = openclip._classes
    monkeypatch.setattr(openclip, "_classes", lambda of: (classes(of)[0].flip(0).contiguous(), classes(of)[1]))
    with pytest.raises(NolaError, match="do not give the same answers through open_clip"):
        openclip.write(student(folder, ["lora"]), tmp_path / "out", images(5))
    assert not (tmp_path / "out").exists()
