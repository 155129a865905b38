from pathlib import Path

import torch

from nola_core.students.average import Average
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent
from tests.students.lessons import lesson, new_clip


def test_it_is_the_average_of_the_steps_and_a_restored_one_goes_on_the_same(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    options = Options(tune=["classifier"])
    student = TunedStudent.make(clip, lesson(clip).classifier, options=options, seed=0)
    average, weights = Average(0.25), student.trained()["classifier"]
    average.start(student)
    expected = weights.detach().double().numpy().copy()
    for step, decay in enumerate((2 / 11, 3 / 12, 0.25, 0.25), start=1):  # min(0.25, (1 + t) / (10 + t))
        with torch.no_grad():
            weights.add_(step)
        average.step(student)
        average.start(student)  # once begun it goes on
        expected = decay * expected + (1 - decay) * weights.detach().double().numpy()
        if step == 2:
            stored = {name: value.clone() for name, value in average.state().items()}
            average = Average(0.25)
            average.load(stored)
    torch.testing.assert_close(average.values["classifier"], torch.tensor(expected).float())
