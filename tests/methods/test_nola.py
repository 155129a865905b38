from pathlib import Path

import torch

from nola_core.methods.nola import METHOD, Options
from nola_core.students import loop
from tests.students.lessons import CPU, lesson, new_clip


def test_it_tunes_as_the_options_say_and_a_restored_student_gives_the_same_bits(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    options = Options(prompt_tokens=2, epochs=2, batch_size=4, precision="bfloat16")
    student, curve = METHOD.tune(clip, lesson(clip), options=options, seed=1, device=CPU, checkpoint=None)
    assert curve.columns.tolist() == loop.CURVE and curve["epoch"].tolist() == [1, 2]
    assert student.tensors()["tokens"].shape == (2, 32)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    p = student.predict(x)
    assert p.shape == (4, 3) and p.dtype == torch.float32
    torch.testing.assert_close(p.sum(dim=1), torch.ones(4))

    restored = METHOD.restore(student.tensors(), new_clip(tmp_path), options=options)
    assert torch.equal(restored.predict(x), p)
    fine = METHOD.restore(student.tensors(), new_clip(tmp_path), options=Options())
    assert not torch.equal(fine.predict(x), p), "the precision is that of the options"
