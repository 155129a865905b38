"""Prompt tokens in open_clip's towers: where they go in, what they leave alone, what is refused."""

import math

import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from nola_core.errors import NolaError
from nola_core.prompting import PromptedTower, layer_norms
from tests.tiny import CLIP_CONFIG


def native(**vision: object) -> nn.Module:
    config = {**CLIP_CONFIG, "vision_cfg": {**CLIP_CONFIG["vision_cfg"], **vision}}
    return open_clip.CLIP(**config).visual.eval()


def siglip() -> nn.Module:
    """A SigLIP-style tower: no class token, attention pooling, timm's ViT inside open_clip's adapter."""
    tower = TimmModel("vit_base_patch16_siglip_224", 24, image_size=16, pool="map", proj="none")
    import timm

    tower.trunk = timm.create_model(
        "vit_base_patch16_siglip_224", img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=0
    )
    return tower.eval()


TOWERS = {
    "openai": lambda: native(),
    "average pooling": lambda: native(pool_type="avg", final_ln_after_pool=True),
    "no first LayerNorm": lambda: native(no_ln_pre=True),
    "attention pooling": lambda: native(attentional_pool=True, attn_pooler_heads=2, attn_pooler_queries=3),
    "siglip": siglip,
}
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TOWERS)
def test_no_tokens_change_nothing_and_some_tokens_change_something(name: str) -> None:
    tower = TOWERS[name]()
    with torch.no_grad():
        expected = tower(IMAGES)
        assert torch.equal(PromptedTower(tower, count=0)(IMAGES), expected)
        prompted = PromptedTower(tower, count=5)(IMAGES)
    assert prompted.shape == expected.shape
    assert (prompted - expected).abs().max() > 1e-4


def test_tokens_stand_behind_the_class_token_after_the_first_layer_norm() -> None:
    """The oracle: the sequence written out by hand, through the tower's own blocks."""
    tower = native()
    prompted = PromptedTower(tower, count=4)
    with torch.no_grad():
        patches = tower.conv1(IMAGES).flatten(2).transpose(1, 2)
        cls = tower.class_embedding.expand(3, 1, -1)
        sequence = tower.ln_pre(torch.cat([cls, patches], dim=1) + tower.positional_embedding)
        sequence = torch.cat([sequence[:, :1], prompted.tokens.expand(3, -1, -1), sequence[:, 1:]], dim=1)
        for block in tower.transformer.resblocks:
            sequence = block(sequence)
        expected = tower.ln_post(sequence)[:, 0] @ tower.proj
        torch.testing.assert_close(prompted(IMAGES), expected)


def test_average_pooling_leaves_the_tokens_out() -> None:
    """Blocks that do nothing: then prompts that are not pooled cannot change the feature."""
    tower = native(pool_type="avg")
    tower.transformer.resblocks = nn.ModuleList()
    with torch.no_grad():
        assert torch.equal(PromptedTower(tower, count=6)(IMAGES), tower(IMAGES))


def test_tokens_begin_uniform_within_the_papers_bound_and_repeat_with_the_seed() -> None:
    tower = native()
    bound = math.sqrt(6 / (3 * 8 * 8 + 32))
    tokens = PromptedTower(tower, count=200, generator=torch.Generator().manual_seed(1)).tokens
    assert tokens.abs().max() <= bound
    assert tokens.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    again = PromptedTower(tower, count=200, generator=torch.Generator().manual_seed(1)).tokens
    assert torch.equal(tokens, again)


def test_layer_norms_are_all_of_them_and_nothing_else() -> None:
    tower = native()
    norms = layer_norms(tower)
    modules = ["ln_pre", "ln_post", *[f"transformer.resblocks.{i}.ln_{j}" for i in (0, 1) for j in (1, 2)]]
    assert set(norms) == {f"{module}.{key}" for module in modules for key in ("weight", "bias")}
    assert all(dict(tower.named_parameters())[name] is parameter for name, parameter in norms.items())


@pytest.mark.parametrize(("model", "kind"), [("RN50", "ModifiedResNet"), ("EVA02-B-16", "Eva")])
def test_other_towers_are_refused_by_name(model: str, kind: str) -> None:
    config = open_clip.get_model_config(model)
    if model == "RN50":
        config["vision_cfg"].update(layers=[1, 1, 1, 1], width=8, image_size=32)
        tower = open_clip.CLIP(**{k: v for k, v in config.items() if k != "custom_text"}).visual
    else:
        tower = TimmModel("eva02_tiny_patch14_224", 16, image_size=224, pool="token", proj="linear")
    with pytest.raises(NolaError, match=rf"vision tower is a {kind}; choose a model whose name starts with ViT-"):
        PromptedTower(tower, count=2)
