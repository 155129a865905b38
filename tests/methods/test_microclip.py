from __future__ import annotations

from pathlib import Path

import torch

from nola_core.methods.microclip import METHOD, Options
from nola_core.students import loop
from tests.students.lessons import CPU, lesson, new_clip


def test_it_learns_its_own_labels_and_restores_the_same_bits(tmp_path: Path) -> None:
    options = Options(crops=2, epochs=8, batch_size=12, learning_rate=3e-3)
    given = lesson(new_clip(tmp_path))
    student, curve = METHOD.tune(new_clip(tmp_path), given, options=options, seed=1, device=CPU)
    assert curve.columns.tolist() == loop.CURVE and curve["loss"].iloc[-1] < curve["loss"].iloc[0]
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    tensors = student.tensors()
    assert not torch.equal(tensors["classifier"], given.classifier), "the learnt head"
    restored = METHOD.restore(tensors, new_clip(tmp_path), options=options)
    assert torch.equal(restored.predict(x), student.predict(x))
