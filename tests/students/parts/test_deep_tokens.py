"""VPT-deep: new tokens at the input of each of the first blocks, and nothing left of the old ones."""

import pytest
import torch

from nola_core.errors import NolaError
from tests.students.parts.clips import IMAGES, TRANSFORMERS, clip, disturbed, plain_logits, student


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_no_tokens_are_the_plain_tower(kind: str) -> None:
    of = clip(kind)
    with torch.no_grad():
        assert torch.equal(student(of, "deep_tokens", prompt_tokens=0).features(IMAGES), of.model.encode_image(IMAGES))
        assert not torch.allclose(student(of, "deep_tokens").logits(IMAGES), plain_logits(of), atol=1e-4)


def test_every_block_reads_tokens_of_its_own() -> None:
    """The oracle: three blocks written out, two of them with tokens, the second without what became of the first's."""
    of = clip()
    some = disturbed(student(of, "deep_tokens", prompt_tokens=4, prompt_depth=2))
    tower, tokens = of.model.visual, some.trained()["deep_tokens"]
    assert tokens.shape == (2, 4, 32)
    with torch.no_grad():
        sequence = tower._embeds(IMAGES)
        first, second, third = tower.transformer.resblocks
        sequence = first(torch.cat([sequence[:, :1], tokens[0].expand(3, -1, -1), sequence[:, 1:]], dim=1))
        sequence = second(torch.cat([sequence[:, :1], tokens[1].expand(3, -1, -1), sequence[:, 5:]], dim=1))
        sequence = third(sequence)
        expected = tower.ln_post(sequence)[:, 0] @ tower.proj
        torch.testing.assert_close(some.features(IMAGES), expected)


def test_in_one_block_deep_tokens_are_shallow_ones() -> None:
    deep, shallow = student(clip(), "deep_tokens", prompt_depth=1), student(clip(), "tokens")
    assert torch.equal(deep.trained()["deep_tokens"][0], shallow.trained()["tokens"]), "drawn alike"
    torch.testing.assert_close(deep.logits(IMAGES), shallow.logits(IMAGES))


def test_there_are_no_more_layers_of_tokens_than_blocks() -> None:
    assert student(clip(), "deep_tokens", prompt_depth=9).trained()["deep_tokens"].shape == (3, 2, 32)


def test_other_towers_are_refused() -> None:
    with pytest.raises(NolaError, match="tune names deep_tokens, but the vision tower of convnext is no transformer"):
        student(clip("convnext"), "deep_tokens")
