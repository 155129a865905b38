"""MaPLe: words in the text tower, and projections of them in the vision tower."""

import pytest
import torch
from torch.nn.functional import normalize

from nola_core.errors import NolaError
from nola_core.students.student import TunedStudent
from tests.students.parts.clips import IMAGES, NAMES, TRANSFORMERS, WORDLESS, clip, disturbed, student, zero_shot


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_in_one_layer_four_words_begin_with_the_class_embeddings_of_zero_shot(kind: str) -> None:
    of = clip(kind)
    with torch.no_grad():
        torch.testing.assert_close(student(of, "coupled", prompt_depth=1).classes(), zero_shot(of), rtol=0, atol=1e-5)


def test_the_vision_tokens_are_the_projected_words() -> None:
    """The oracle: a matrix product a layer and word, put in as deep tokens."""
    some = disturbed(student(clip(), "coupled", context_tokens=3))
    words, weight, bias = (some.trained()[f"text.coupled.{name}"] for name in ("words", "weight", "bias"))
    assert words.shape == (2, 3, 16) and weight.shape == (2, 32, 16) and bias.shape == (2, 32)
    expected = torch.stack([torch.stack([weight[i] @ words[i, j] + bias[i] for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(some.tensors()["deep_tokens"], expected)
    other = student(clip(), "deep_tokens", prompt_tokens=3)
    other.put({"deep_tokens": expected})
    with torch.no_grad():
        torch.testing.assert_close(some.features(IMAGES), other.features(IMAGES))


def test_the_words_of_every_text_layer_replace_what_the_layer_before_made_of_its_own() -> None:
    """The oracle: one class at a time, the text tower written out."""
    of = clip()
    some, model = disturbed(student(of, "coupled", context_tokens=2)), of.model
    words = some.trained()["text.coupled.words"]
    rows = []
    with torch.no_grad():
        for name in NAMES:
            ids = of.tokenize([f"{name}."])[0]
            embedded = model.token_embedding(ids)
            x = (torch.cat([embedded[:1], words[0], embedded[1:-2]]) + model.positional_embedding)[None]
            first, second, third = model.transformer.resblocks
            x = first(x, attn_mask=model.attn_mask)
            x = second(torch.cat([x[:, :1], words[1:], x[:, 3:]], dim=1), attn_mask=model.attn_mask)
            x = third(x, attn_mask=model.attn_mask)
            rows.append(model.ln_final(x)[0, int(ids.argmax()) + 2] @ model.text_projection)
        torch.testing.assert_close(some.classes(), normalize(torch.stack(rows), dim=-1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_is_restored_as_deep_tokens_with_the_same_bits(precision: str) -> None:
    some = disturbed(student(clip(), "coupled", precision=precision))
    some.finish()
    restored = TunedStudent.restore(some.tensors(), clip(), precision=some.precision)
    assert [part.name for part in restored.learnt] == ["deep_tokens"]
    assert torch.equal(restored.predict(IMAGES), some.predict(IMAGES))


def test_both_towers_must_take_words() -> None:
    for kind, reason in (("convnext", "is no transformer that takes tokens"), (WORDLESS, "takes no learnable words")):
        with pytest.raises(NolaError, match=reason):
            student(clip(kind), "coupled")
