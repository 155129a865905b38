import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from nola_core.students.objective import Batch
from nola_core.students.options import Options
from nola_core.students.pouf import Pouf, mutual_information, transport
from nola_core.students.student import TunedStudent
from tests.students.lessons import lesson, new_clip


def test_the_loss_is_the_papers_written_out(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    student = TunedStudent.make(clip, lesson(clip).classifier, options=Options(tune=["classifier"]), seed=0, scale=7.0)
    views = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    loss, logits = Pouf(information=0.3).loss(student, Batch(torch.arange(4), views))
    with torch.no_grad():
        cos = (normalize(student.features(views), dim=1) @ normalize(student.classes(), dim=1).T).double().tolist()
    torch.testing.assert_close(logits.detach(), 7 * torch.tensor(cos).float())

    e = [[math.exp(7 * value) for value in row] for row in cos]
    images, classes = range(4), range(3)
    to_classes = sum((1 - cos[j][c]) * e[j][c] / sum(e[j]) for j in images for c in classes) / 4
    to_images = sum((1 - cos[j][c]) * e[j][c] / sum(e[i][c] for i in images) for j in images for c in classes) / 3
    p = [[e[j][c] / sum(e[j]) for c in classes] for j in images]
    mean = [sum(p[j][c] for j in images) / 4 for c in classes]
    unsure = -sum(p[j][c] * math.log(p[j][c]) for j in images for c in classes) / 4
    varied = -sum(value * math.log(value) for value in mean)
    assert loss.item() == pytest.approx(4 * (to_classes + to_images + 0.3 * (unsure - varied)), rel=1e-4)


def test_information_is_greatest_where_answers_are_sure_and_all_classes_occur() -> None:
    assert mutual_information(torch.eye(3)).item() == pytest.approx(math.log(3), abs=1e-4)
    assert mutual_information(torch.full((5, 3), 1 / 3)).item() == pytest.approx(0, abs=1e-4)
    assert mutual_information(torch.tensor([[1.0, 0, 0]] * 4)).item() == pytest.approx(0, abs=1e-4)


@given(st.integers(0, 1000))
def test_both_terms_are_within_their_bounds_and_forget_the_order(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(6, 4, generator=generator).mul(3).softmax(dim=1)
    assert -1e-4 <= mutual_information(p).item() <= math.log(4) + 1e-4
    cos = 2 * torch.rand(6, 4, generator=generator) - 1
    cost = transport(5 * cos, scale=5)
    assert 2 * (1 - cos).min() - 1e-5 <= cost <= 2 * (1 - cos).max() + 1e-5
    other = cos[torch.randperm(6, generator=generator)][:, torch.randperm(4, generator=generator)]
    torch.testing.assert_close(transport(5 * other, scale=5), cost)
