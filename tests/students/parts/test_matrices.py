"""Singular values and LoRA: which matrices change, by how much, and that plain weights take the change up."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nola_core.errors import NolaError
from nola_core.students.parts import PARTS
from nola_core.students.parts.lora import LowRank
from nola_core.students.parts.matrices import OWNERS
from nola_core.students.parts.part import CLASSES
from nola_core.students.parts.singular_values import Shifted
from nola_core.students.student import TunedStudent
from tests.students.parts.clips import IMAGES, TRANSFORMERS, WORDLESS, clip, disturbed, plain_logits, student, zero_shot

MATRICES = ["singular_values", "lora"]
Shape = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(0, 2**31))


def weight(shape: tuple[int, int, int, int]) -> tuple[Tensor, int, torch.Generator]:
    rows, columns, pieces, seed = shape
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(pieces * rows, columns, generator=generator), pieces, generator


@settings(max_examples=25, deadline=None)
@given(Shape)
def test_the_singular_values_of_every_piece_are_shifted_and_nothing_turns(shape: tuple[int, int, int, int]) -> None:
    """Doubled singular values double the matrix, none leave nothing, and the shift of one is a matrix of rank 1 and that size."""
    w, pieces, _ = weight(shape)
    change = Shifted(w, pieces)
    s = torch.linalg.svdvals(w.reshape(pieces, -1, w.shape[1]))
    with torch.no_grad():
        assert torch.equal(change(w), w)
        for factor in (1.0, -1.0):
            change.shift.copy_(factor * s)
            torch.testing.assert_close(change(w), (1 + factor) * w, rtol=1e-4, atol=1e-5)
        change.shift.zero_()[0, 0] = 0.5
        moved = change(w) - w
        assert torch.linalg.matrix_rank(moved, atol=1e-4) == 1
        torch.testing.assert_close(moved.norm(), torch.tensor(0.5), rtol=1e-4, atol=1e-5)
        assert torch.equal(moved[len(w) // pieces :], torch.zeros(len(w) - len(w) // pieces, w.shape[1])), "of the first piece"


@settings(max_examples=25, deadline=None)
@given(Shape, st.integers(1, 3))
def test_lora_adds_b_a_to_every_piece(shape: tuple[int, int, int, int], rank: int) -> None:
    w, pieces, generator = weight(shape)
    change = LowRank(w, pieces, rank=rank, generator=generator)
    with torch.no_grad():
        assert torch.equal(change(w), w), "B begins as 0"
        assert change.down.abs().max() <= w.shape[1] ** -0.5
        change.up.copy_(torch.randn(change.up.shape, generator=generator))
        expected = torch.cat([part + b @ a for part, b, a in zip(w.chunk(pieces), change.up, change.down, strict=True)])
        torch.testing.assert_close(change(w), expected)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("kind", [*TRANSFORMERS, "eva", WORDLESS])
def test_it_begins_as_zero_shot(name: str, kind: str) -> None:
    of = clip(kind)
    expected = plain_logits(of)
    some = student(of, name)
    torch.testing.assert_close(some.logits(IMAGES), expected, rtol=0, atol=1e-5 * of.logit_scale)
    assert any(key.startswith("text.") for key in some.trained()) == (kind != WORDLESS)


def test_the_attention_and_mlp_matrices_of_all_blocks_of_both_towers() -> None:
    trained = student(clip(), "lora").trained()
    matrices = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    assert set(trained) == {
        f"{tower}lora.{block}.{matrix}.{key}"
        for tower in ("", "text.")
        for block in range(3)
        for matrix in matrices
        for key in ("down", "up")
    }
    assert trained["lora.0.attn.in_proj_weight.up"].shape == (3, 32, 2), "queries, keys and values have their own"
    assert student(clip("siglip"), "lora").trained()["lora.0.attn.qkv.weight.up"].shape[0] == 3


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("kind", [*TRANSFORMERS, "eva"])
def test_what_it_changes_is_seen_by_every_path_through_the_towers(name: str, kind: str) -> None:
    """With gradient, without, and in inference mode, where attention takes another path; and by plain weights after merging."""
    of = clip(kind)
    before = plain_logits(of)
    some = disturbed(student(of, name))
    with_gradient = some.requires_grad_(True)(IMAGES).detach()
    assert (with_gradient - before).abs().max() > 0.01
    with torch.no_grad():
        torch.testing.assert_close(some(IMAGES), with_gradient, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some.logits(IMAGES), with_gradient, rtol=1e-4, atol=1e-4)
    some.merge()
    assert not any("parametrizations" in key for key in of.model.state_dict())
    torch.testing.assert_close(some.logits(IMAGES), with_gradient, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain_logits(of), with_gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_restored_it_gives_the_same_bits_and_is_merged(name: str, precision: str) -> None:
    some = disturbed(student(clip(), name, precision=precision))
    some.finish()
    of = clip()
    restored = TunedStudent.restore(some.tensors(), of, precision=some.precision)
    assert torch.equal(restored.predict(IMAGES), some.predict(IMAGES))
    assert {key: value.tolist() for key, value in restored.tensors().items()} == {
        key: value.tolist() for key, value in some.tensors().items()
    }
    assert not any("parametrizations" in key for key in of.model.state_dict())
    torch.testing.assert_close(zero_shot(of), restored.classes(), rtol=0, atol=1e-5)
    alone = {key: value for key, value in some.tensors().items() if not key.startswith("text.")}
    assert torch.equal(TunedStudent.restore(alone, clip(), precision=some.precision).predict(IMAGES), some.predict(IMAGES))


def test_beside_a_part_with_class_embeddings_the_vision_tower_alone_learns() -> None:
    assert {name for name, part in PARTS.items() if CLASSES in part.changes} == OWNERS
    some = student(clip(), "lora", "classifier")
    assert not any(name.startswith("text.") for name in some.trained())
    assert torch.equal(some.classes(), zero_shot(clip()))


@pytest.mark.parametrize("name", MATRICES)
def test_towers_without_attention_are_refused(name: str) -> None:
    with pytest.raises(NolaError, match=f"tune names {name}, but the vision tower of convnext has no blocks of attention"):
        student(clip("convnext"), name)
