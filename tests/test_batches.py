"""Every row has the bits it has alone: whatever rows it is computed with, however many, in whatever order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.alignment import AlignmentHead
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import ClipSpec, SslSpec
from nola_core.backbones.ssl import load_ssl
from nola_core.batches import IMAGES, ROWS, in_batches
from nola_core.classifier import Classifier
from nola_core.extraction import encode
from nola_core.methods.collection import probabilities
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent
from nola_core.text_classifier import TextClassifier
from tests.tiny import write_clip, write_ssl

COUNT = 40
CPU = torch.device("cpu")
Compute = Callable[[Tensor], Tensor]


def features(dim: int) -> Tensor:
    return normalize(torch.randn(COUNT, dim, generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.fixture(scope="module")
def computations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Compute, Tensor, Tensor]]:
    """Name -> what computes rows, the inputs, and what it makes of each of them alone."""
    root = tmp_path_factory.mktemp("towers")
    write_clip(root / "clip")
    write_ssl(root / "ssl")
    clip = load_clip(ClipSpec(model="local-dir:clip"), root=root)
    ssl = load_ssl(SslSpec(model="local-dir:ssl"), root=root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        linear = TextClassifier(normalize(torch.randn(37, 512), dim=-1), 100.0)
        mlp = AlignmentHead(384, 256, 37).eval().requires_grad_(False)
        pixels = torch.randn(COUNT, 3, 16, 16)
        student = TunedStudent.make(clip, torch.randn(5, 16), options=Options(prompt_tokens=2), seed=0).eval()
    plain = load_clip(ClipSpec(model="local-dir:clip"), root=root).image  # the student changes its tower
    tuned = Classifier(about={}, class_names=["x"] * 5, fitted=student, encoders={}, clip=clip)
    found: dict[str, tuple[Compute, Tensor]] = {
        "linear head": (lambda x: probabilities(linear, {"clip": x}), features(512)),
        "MLP": (lambda x: probabilities(mlp, {"ssl": x}), features(384)),
        "CLIP tower": (lambda x: encode(plain, x, CPU, "float32"), pixels),
        "CLIP tower in bfloat16": (lambda x: encode(plain, x, CPU, "bfloat16"), pixels),
        "SSL tower": (lambda x: encode(ssl, x, CPU, "float32"), pixels),
        "student": (tuned.of_images, pixels),
    }
    return {name: (compute, x, torch.cat([compute(row[None]) for row in x])) for name, (compute, x) in found.items()}


NAMES = ["linear head", "MLP", "CLIP tower", "CLIP tower in bfloat16", "SSL tower", "student"]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=3 * IMAGES))
def test_a_row_does_not_depend_on_the_others(
    computations: dict[str, tuple[Compute, Tensor, Tensor]], name: str, rows: list[int]
) -> None:
    """Any rows, any of them several times, in any order and number."""
    compute, x, alone = computations[name]
    assert torch.equal(compute(x[rows]), alone[rows])


@pytest.mark.parametrize("name", NAMES)
def test_no_row_at_all_gives_an_empty_table(computations: dict[str, tuple[Compute, Tensor, Tensor]], name: str) -> None:
    compute, x, alone = computations[name]
    assert compute(x[:0]).shape == (0, alone.shape[1])


@pytest.mark.parametrize("count", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_more_rows_than_a_batch_change_none(computations: dict[str, tuple[Compute, Tensor, Tensor]], count: int) -> None:
    for name in ("linear head", "MLP"):
        compute, x, alone = computations[name]
        rows = torch.arange(count) % COUNT
        assert torch.equal(compute(x[rows]), alone[rows])


@settings(deadline=None)
@given(count=st.integers(1, 20), size=st.integers(1, 7))
def test_every_batch_is_full_and_every_row_is_computed_once(count: int, size: int) -> None:
    sizes: list[int] = []

    def compute(left: Tensor, right: Tensor) -> Tensor:
        sizes.append(len(left))
        return left[:, None] * 100 + right[:, None]

    left, right = torch.arange(count), torch.arange(count) + 7
    assert torch.equal(in_batches(compute, left, right, size=size), compute(left, right))
    assert sizes[:-1] == [size] * -(-count // size)
