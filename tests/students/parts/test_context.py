"""CoOp: learnable words before the class name."""

import pytest
import torch
from torch.nn.functional import normalize

from nola_core.errors import NolaError
from nola_core.students import text_tower
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent
from tests.students.parts.clips import (
    IMAGES,
    NAMES,
    SENTENCES,
    TRANSFORMERS,
    WORDLESS,
    clip,
    disturbed,
    plain_logits,
    student,
    zero_shot,
)


@pytest.mark.parametrize("kind", [*TRANSFORMERS, "convnext"])
def test_four_words_begin_as_zero_shot(kind: str) -> None:
    of = clip(kind)
    some = student(of, "context")
    assert some.trained()["text.context"].shape == (4, 16)
    torch.testing.assert_close(some.logits(IMAGES), plain_logits(of), rtol=0, atol=1e-5 * of.logit_scale)


def test_the_words_stand_between_the_start_and_the_class_name() -> None:
    """The oracle: one class at a time, the whole text tower written out, with no column left out."""
    of = clip()
    some, model = disturbed(student(of, "context", context_tokens=2)), of.model
    words = some.trained()["text.context"]
    rows = []
    with torch.no_grad():
        for name in NAMES:
            ids = of.tokenize([f"{name}."])[0]
            end = int(ids.argmax()) + 2
            embedded = model.token_embedding(ids)
            sequence = torch.cat([embedded[:1], words, embedded[1:-2]]) + model.positional_embedding
            hidden = model.transformer(sequence[None], attn_mask=model.attn_mask)
            rows.append(model.ln_final(hidden)[0, end] @ model.text_projection)
        torch.testing.assert_close(some.classes(), normalize(torch.stack(rows), dim=-1))


def test_other_numbers_of_words_are_drawn_and_repeat_with_the_seed() -> None:
    a, b, c = (student(clip(), "context", context_tokens=6, seed=seed).trained()["text.context"] for seed in (0, 0, 1))
    assert a.shape == (6, 16) and torch.equal(a, b) and not torch.equal(a, c)
    assert 0.01 < a.std().item() < 0.03


def test_many_classes_are_encoded_in_blocks_with_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for at_once in (128, 2):
        monkeypatch.setattr(text_tower, "AT_ONCE", at_once)
        some = student(clip(), "context")
        words = some.trained()["text.context"]
        some.classes().square().mul(torch.arange(16)).sum().backward()
        assert words.grad is not None
        gradients.append(words.grad)
    torch.testing.assert_close(*gradients)


def test_a_restored_student_needs_its_classifier_alone() -> None:
    some = disturbed(student(clip(), "context"))
    some.finish()
    stored = some.tensors()
    assert torch.equal(stored["text.context"], some.trained()["text.context"]), "for the record"
    expected = some.predict(IMAGES)
    for kept in (stored, {name: value for name, value in stored.items() if not name.startswith("text.")}):
        assert torch.equal(TunedStudent.restore(kept, clip()).predict(IMAGES), expected)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(NolaError, match=f"the text tower of {WORDLESS} takes no learnable words"):
        student(clip(WORDLESS), "context")
    of, options = clip(), Options(tune=["context"], context_tokens=4)
    with pytest.raises(NolaError, match=r"class 'one two .* eleven' is too long for 4 words before it"):
        long = "one two three four five six seven eight nine ten eleven"
        TunedStudent.make(of, zero_shot(of)[:2], names=["one", long], options=options, seed=0)
    with pytest.raises(NolaError, match="learnable words need the class names"):
        TunedStudent.make(of, zero_shot(of), texts=SENTENCES, options=options, seed=0)
