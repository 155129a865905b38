"""LatteCLIP's objective beside its equations, written out image by image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from nola_core.methods.latteclip import Options
from nola_core.students.images import Loader
from nola_core.students.lesson import Lesson
from nola_core.students.objective import Batch, recomputed
from nola_core.students.prototypes import Prototypes, Weighting, margins, text_means
from nola_core.students.student import TunedStudent
from tests.students.lessons import lesson, new_clip

STEP = 0.3
CAPTIONS = {0: ["a dark field"], 2: ["white stones", "four pictures of snow"], 3: ["a dark field"], 9: ["a red thing"]}


def made(
    folder: Path, weighting: Weighting = "paper", tune: str = "all", captions: dict[int, list[str]] = CAPTIONS
) -> tuple[Prototypes, TunedStudent, Lesson]:
    clip = new_clip(folder)
    known = lesson(clip)
    student = TunedStudent.make(clip, known.classifier, options=Options(tune=[tune]), seed=0, scale=clip.logit_scale)  # type: ignore[list-item]
    for parameter in student.trained().values():
        parameter.requires_grad_(True)
    objective = Prototypes(
        student,
        labels=known.zero_shot.classes[:, 0],
        templates=known.sentences,
        captions=captions,
        step=STEP,
        weighting=weighting,
    )
    objective.begin(student, Loader(known.images), epoch=1)
    return objective, student, known


def batch(count: int) -> Batch:
    return Batch(torch.arange(count), torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(3)))


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def margin(text: np.ndarray, prototypes: np.ndarray) -> float:
    second, first = sorted(prototypes @ text)[-2:]
    return float(first - second + 1e-6)


def log_softmax(row: np.ndarray) -> np.ndarray:
    return np.asarray(row - row.max() - np.log(np.exp(row - row.max()).sum()))


def oracle(
    student: TunedStudent, known: Lesson, views: Batch, weighting: str, encode: Callable[[list[str]], np.ndarray]
) -> tuple[float, np.ndarray]:
    """The sum of the losses, and the prototypes after the step; in float64, one image at a time."""
    with torch.no_grad():
        images = unit(student.features(views.strong).double().numpy())
    prototypes = unit(known.classifier.double().numpy())
    current = [int(np.argmax(prototypes @ image)) for image in images]
    frozen = known.zero_shot.classes[: len(images), 0].tolist()
    template = encode(known.sentences)
    ours = np.array([margin(template[label], prototypes) for label in current])
    total, gathered = 0.0, [[] for _ in prototypes]  # type: list[list[np.ndarray]]
    for labels in (current, frozen):
        moved = []
        for row, label in enumerate(labels):
            weights, texts = [margin(template[label], prototypes)], [template[label]]
            for caption in CAPTIONS.get(row, []):
                texts.append(encode([caption])[0])
                weights.append(margin(texts[-1], prototypes))
            weighted = [weight * text for weight, text in zip(weights, texts, strict=True)]
            if weighting == "published":
                weighted[0] = ours * template[label]  # [B] * [d] where B = d: what lacks its unsqueeze
            z = prototypes[label] + STEP * (sum(weighted) / sum(weights) - prototypes[label])
            moved.append(z)
            gathered[label].append(z)
        logits = student.scale * images @ np.array(moved).T
        for row in range(len(images)):
            total -= (log_softmax(logits[row])[row] + log_softmax(logits[:, row])[row]) / 2
    for label, rows in enumerate(gathered):
        if rows:
            prototypes[label] = unit(np.mean(rows, axis=0))
    return total, prototypes


@pytest.mark.parametrize("weighting", ["paper", "published"])
def test_loss_and_prototypes_are_those_of_the_equations(tmp_path: Path, weighting: Weighting) -> None:
    objective, student, known = made(tmp_path, weighting)
    views = batch(16)  # as many as features have dimensions, where the published code runs
    encode = lambda texts: unit(known.texts.encode(texts).double().numpy())  # noqa: E731
    expected, prototypes = oracle(student, known, views, weighting, encode)
    loss, logits = objective.loss(student, views)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(logits, student.head(student.features(views.strong), normalize(known.classifier, dim=1)))
    loss.backward()
    trained = student.trained()
    assert {name.split(".")[0] for name, value in trained.items() if value.grad is not None} == {"all", "text"}
    assert trained["text.all.positional_embedding"].grad is not None

    before = student.classes().clone()
    objective.stepped(student)
    np.testing.assert_allclose(student.classes().numpy(), prototypes, atol=1e-5)
    assert not torch.equal(student.classes(), before)
    other = made(tmp_path)[0]
    other.load(objective.state())
    assert torch.equal(other.student.classes(), student.classes())


def test_the_readings_differ_in_the_template_alone(tmp_path: Path) -> None:
    views = batch(16)
    (a, first, _), (b, second, _) = made(tmp_path, "paper"), made(tmp_path, "published")
    assert abs(a.loss(first, views)[0].item() - b.loss(second, views)[0].item()) > 1e-3


def test_a_frozen_text_tower_encodes_each_text_once_and_gives_the_same_loss(tmp_path: Path) -> None:
    (live, tuned, _), (frozen, fixed, _) = made(tmp_path), made(tmp_path, tune="norms")
    views = batch(7)
    expected = live.loss(tuned, views)[0].item()
    fixed.clip.model.encode_text = None  # from here on nothing asks it
    assert frozen.loss(fixed, views)[0].item() == pytest.approx(expected, rel=1e-5)


def test_captions_count(tmp_path: Path) -> None:
    views = batch(7)
    (with_captions, first, _), (without, second, _) = made(tmp_path), made(tmp_path, captions={})
    assert abs(with_captions.loss(first, views)[0].item() - without.loss(second, views)[0].item()) > 1e-3


def tensors(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 8), st.integers(1, 5), st.integers(0, 99))
def test_means_are_convex_combinations_and_a_template_alone_is_itself(count: int, texts: int, classes: int, seed: int) -> None:
    templates, captions, prototypes = tensors(seed, count, 4), tensors(seed + 1, texts, 4), tensors(seed + 2, classes, 4)
    owners = torch.randint(0, count, (texts,), generator=torch.Generator().manual_seed(seed))
    (mean,) = text_means([templates], captions, owners, prototypes=prototypes, weighting="paper")
    weights = margins(templates, prototypes)
    assert (weights > 0).all() and (classes > 1 or (weights == 1e-6).all())
    assert (mean.norm(dim=1) <= 1 + 1e-5).all()
    alone = torch.ones(count, dtype=torch.bool).index_fill(0, owners, False)
    torch.testing.assert_close(mean[alone], templates[alone])

    (published,) = text_means([templates], captions, owners, prototypes=prototypes, weighting="published")
    for row in range(count):
        for place in range(4):
            mine = [k for k in range(texts) if owners[k] == row]
            others = margins(captions, prototypes)
            top = weights[place % count] * templates[row, place] + sum(others[k] * captions[k, place] for k in mine)
            assert published[row, place].item() == pytest.approx(
                (top / (weights[row] + sum(others[k] for k in mine))).item(), abs=1e-4
            )


def test_recomputed_gives_the_same_gradient() -> None:
    weight, x = torch.randn(3, 3, requires_grad=True), torch.randn(10, 3)
    (one,) = torch.autograd.grad((x @ weight).tanh().square().sum(), weight)
    (two,) = torch.autograd.grad(recomputed(lambda rows: (rows @ weight).tanh(), x, size=4).square().sum(), weight)
    torch.testing.assert_close(one, two)
