from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from nola_core.captions import SCHEMA
from nola_core.errors import NolaError
from nola_core.files import write_table
from nola_core.methods.latteclip import METHOD, Options
from nola_core.students import loop
from nola_core.students.captions import read
from nola_core.students.lesson import Lesson
from tests.students.lessons import CPU, labels, lesson, new_clip

OPTIONS = Options(epochs=12, batch_size=12, learning_rate=3e-3)


def known(folder: Path) -> Lesson:
    """Zero-shot answers that are right, and a caption of one image."""
    made = lesson(new_clip(folder))
    return replace(made, zero_shot=made.teacher, captions={4: ["a red field"]})


def right(student: object, given: Lesson) -> float:
    assert given.images.weak is not None
    views = torch.stack([given.images.weak(given.images.open(image)) for image in given.images.ids])
    return float((student.logits(views).argmax(dim=1) == labels()).float().mean())  # type: ignore[attr-defined]


def test_it_moves_towards_its_zero_shot_answers_and_restores_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = known(tmp_path)
    clip = new_clip(tmp_path)
    assert float((lesson(clip).zero_shot.classes[:, 0] == labels()).float().mean()) < 0.9
    student, curve = METHOD.tune(clip, given, options=OPTIONS, seed=1, device=CPU)
    assert "latteclip: 1 captions of 1 of 24 images" in capsys.readouterr().out
    assert right(student, given) >= 0.9 and curve["loss"].iloc[-1] < curve["loss"].iloc[0]

    tensors, x = student.tensors(), torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert "all.conv1.weight" in tensors and "text.all.token_embedding.weight" in tensors
    torch.testing.assert_close(tensors["classifier"].norm(dim=1), torch.ones(3))
    assert not any(parameter.requires_grad for parameter in clip.model.parameters())
    other = new_clip(tmp_path)
    restored = METHOD.restore(tensors, other, options=OPTIONS)
    assert torch.equal(restored.predict(x), student.predict(x))
    ours, theirs = clip.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), "both towers"
    with pytest.raises(NolaError, match="does not fit the vision tower"):
        METHOD.restore({name: value for name, value in tensors.items() if "conv1" not in name}, other, options=OPTIONS)


def test_an_interrupted_tuning_ends_where_an_undisturbed_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, options = known(tmp_path), OPTIONS.model_copy(update={"epochs": 2})
    whole, _ = METHOD.tune(new_clip(tmp_path), given, options=options, seed=1, device=CPU)
    real = loop._epoch

    def dies(*args: object, epoch: int) -> tuple[float, float]:
        if epoch == 2:
            raise KeyboardInterrupt
        return real(*args, epoch=epoch)  # type: ignore[arg-type]

    file = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_epoch", dies)
        METHOD.tune(new_clip(tmp_path), given, options=options, seed=1, device=CPU, checkpoint=file)
    resumed, _ = METHOD.tune(new_clip(tmp_path), given, options=options, seed=1, device=CPU, checkpoint=file)
    mine = resumed.tensors()
    assert all(torch.equal(mine[name], value) for name, value in whole.tensors().items())


def test_without_captions_it_says_so_and_parts_that_learn_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = new_clip(tmp_path)
    given = lesson(clip)
    METHOD.tune(clip, given, options=Options(tune=["norms"], epochs=1), seed=1, device=CPU)
    assert "latteclip: no captions, so a class has its template alone" in capsys.readouterr().out
    with pytest.raises(NolaError, match=r"so classifier would learn nothing; take it out of latteclip\.tune"):
        METHOD.tune(clip, given, options=Options(tune=["norms", "classifier"]), seed=1, device=CPU)
    with pytest.raises(NolaError, match="tune names all and norms, which both change the normalisation layers; keep one of them"):
        METHOD.tune(clip, given, options=Options(tune=["all", "norms"]), seed=1, device=CPU)


def test_every_image_of_a_group_has_its_caption(tmp_path: Path) -> None:
    rows = [("image", ["b"], "one"), ("group", ["a", "b", "x", "a"], "four"), ("image", ["x"], "gone"), ("group", ["b"], "one")]
    table = pd.DataFrame(rows, columns=["kind", "image_ids", "text"]).assign(class_id=None, prompt="", provider="llm", model="m")
    write_table(tmp_path / "captions.parquet", table[SCHEMA.names], SCHEMA)
    assert read(tmp_path / "captions.parquet", ["a", "b", "c"]) == {0: ["four"], 1: ["one", "four"]}
