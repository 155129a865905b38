from pathlib import Path

import torch

from nola_core.methods.pouf import METHOD, Options
from nola_core.students.options import PartName
from nola_core.students.pouf import mutual_information
from tests.students import lessons
from tests.students.learning import answers

TUNES: list[list[PartName]] = [["norms", "classifier"], ["context"]]


def test_without_a_teacher_the_answers_become_surer_and_more_varied(tmp_path: Path) -> None:
    for tune in TUNES:
        clip = lessons.new_clip(tmp_path)
        taught = lessons.lesson(clip)
        options = Options(tune=tune, epochs=12, batch_size=12, optimizer="adamw", learning_rate=0.02, information=1.0)
        student, _ = METHOD.tune(clip, taught, options=options, seed=1, device=lessons.CPU)
        before = taught.zero_shot.dense(torch.arange(lessons.COUNT), 3)
        after = answers(student, taught)
        assert mutual_information(after) > mutual_information(before) + (0.3 if "norms" in tune else 0.05)
        restored = METHOD.restore(student.tensors(), lessons.new_clip(tmp_path), options=options)
        assert torch.equal(answers(restored, taught), after)


def test_the_defaults_are_the_papers() -> None:
    defaults = Options()
    assert (defaults.tune, defaults.context_tokens, defaults.information) == (["context"], 4, 0.3)
