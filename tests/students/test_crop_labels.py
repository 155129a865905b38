"""microCLIP's objective beside its equations, written out image by image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from nola_core.methods.microclip import Options
from nola_core.students.crop_labels import CropLabels, crop_box, crop_features, weighted
from nola_core.students.images import Loader
from nola_core.students.objective import Batch
from nola_core.students.student import TunedStudent
from tests.students.lessons import COUNT, lesson, new_clip


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(x - x.max()) / np.exp(x - x.max()).sum())


def test_labels_and_loss_are_those_of_the_equations(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    known = lesson(clip)
    student = TunedStudent.make(clip, known.classifier, options=Options(), seed=0, scale=clip.logit_scale)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        student.trained()["classifier"].add_(0.3 * torch.randn(3, 16, generator=generator))
    crops = normalize(torch.randn(COUNT, 16, generator=generator), dim=1).half()
    objective = CropLabels(frozen=known.classifier, crops=crops, gamma=0.5)
    objective.begin(student, Loader(known.images), epoch=1)
    frozen, learnt = (unit(w.detach().double().numpy()) for w in (known.classifier, student.classes()))
    mean = None
    for rows in (torch.tensor([3, 11, 5, 0]), torch.tensor([7, 2])):
        views = Batch(rows, *(torch.randn(len(rows), 3, 16, 16, generator=generator) for _ in range(2)))
        with torch.no_grad():
            strong, weak = (unit(student.features(x).double().numpy()) for x in (views.strong, views.weak))  # type: ignore[arg-type]
        c = unit(crops.double().numpy())
        labels = [int(np.argmax(0.5 * frozen @ c[row] + 0.5 * learnt @ f)) for row, f in zip(rows.tolist(), weak, strict=True)]
        p = np.array([softmax(student.scale * learnt @ f) for f in strong])
        mean = p.mean(axis=0) if mean is None else (mean + p.mean(axis=0)) / 2
        expected = -np.mean([np.log(q[label]) for q, label in zip(p, labels, strict=True)]) - 2 * np.log(mean).mean()
        loss, logits = objective.loss(student, views)
        assert objective.labels(student, rows, views.weak).tolist() == labels  # type: ignore[arg-type]
        assert len(set(labels)) > 1 or len(rows) == 2
        assert loss.item() == pytest.approx(len(rows) * expected, rel=1e-3)
        torch.testing.assert_close(logits.softmax(dim=1).detach().double(), torch.from_numpy(p), atol=1e-4, rtol=0)


def test_crops_that_resemble_the_image_count_more() -> None:
    crops = normalize(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    whole = normalize(torch.randn(2, 5, generator=torch.Generator().manual_seed(1)), dim=-1)
    for row, mean in enumerate(weighted(crops, whole)):
        weights = softmax(np.array([float(crop @ whole[row]) for crop in crops[row]]))
        expected = unit(sum(w * crop.numpy() for w, crop in zip(weights, crops[row], strict=True)))  # type: ignore[arg-type]
        np.testing.assert_allclose(mean.numpy(), expected, atol=1e-6)


@given(st.integers(1, 300), st.integers(1, 300), st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=3, max_size=3))
def test_a_crop_is_a_square_inside_the_image(width: int, height: int, numbers: list[float]) -> None:
    left, top, right, bottom = crop_box(width, height, torch.tensor(numbers))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height and right - left == bottom - top
    assert (right - left) / min(width, height) <= 0.9 or right - left == 1
    assert right - left + 1 > 0.5 * min(width, height)


def test_crops_are_seen_through_the_frozen_tower_and_drawn_once(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    known = lesson(clip)
    student = TunedStudent.make(clip, known.classifier, options=Options(tune=["tokens"]), seed=0, scale=1.0)
    mine = crop_features(student, known, count=3, seed=1)
    assert mine.shape == (COUNT, 16) and mine.dtype == torch.float16
    assert torch.equal(mine, crop_features(student, known, count=3, seed=1))
    assert not torch.equal(mine, crop_features(student, known, count=3, seed=2))

    row, numbers = 13, torch.rand(COUNT, 3, 3, generator=torch.Generator().manual_seed(1))
    image, seen = known.images.open(known.images.ids[13]), []
    for drawn in numbers[row]:
        small = image.crop(crop_box(image.width, image.height, drawn)).resize((16, 16), 3)
        x = (torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255 - 0.5) / 0.5
        with torch.inference_mode():
            seen.append(normalize(clip.image.module(x[None]), dim=1)[0])
    expected = weighted(torch.stack(seen)[None], known.features.rows(np.array([row])))[0]
    torch.testing.assert_close(mine[row].float(), expected, atol=2e-2, rtol=0)
    assert float(mine[row].float() @ expected) > 0.999
