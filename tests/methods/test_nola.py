from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import normalize

from nola_core import tuning
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.methods.method import Lesson
from nola_core.methods.nola import METHOD, Options
from tests.tiny import write_clip

SPEC = ClipSpec(model="local-dir:clip")


def test_it_tunes_as_the_options_say_and_a_restored_student_gives_the_same_bits(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    opened = {f"{shade}": Image.new("RGB", (20, 20), (shade, 0, 255 - shade)) for shade in range(0, 256, 32)}
    images = tuning.Images(list(opened), opened.__getitem__, (16, 16), (0.5,) * 3, (0.5,) * 3)
    classifier = normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    lesson = Lesson(images, torch.arange(8) % 3, classifier)
    options = Options(prompt_tokens=2, epochs=2, batch_size=4, precision="bfloat16")
    student, curve = METHOD.tune(
        load_clip(SPEC, root=tmp_path), lesson, options=options, seed=1, device=torch.device("cpu"), checkpoint=None
    )
    assert curve.columns.tolist() == tuning.CURVE and curve["epoch"].tolist() == [1, 2]
    assert student.tensors()["tokens"].shape == (2, 32)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    p = student.predict(x)
    assert p.shape == (4, 3) and p.dtype == torch.float32
    torch.testing.assert_close(p.sum(dim=1), torch.ones(4))

    restored = METHOD.restore(student.tensors(), load_clip(SPEC, root=tmp_path), options=options)
    assert torch.equal(restored.predict(x), p)
    fine = METHOD.restore(student.tensors(), load_clip(SPEC, root=tmp_path), options=Options())
    assert not torch.equal(fine.predict(x), p), "the precision is that of the options"
