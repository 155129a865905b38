"""Prompts in open_clip's towers: the position of tokens, the effect of a frame, and what both do not change."""

import math

import open_clip
import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from nola_core.backbones.conse import ConseTower
from nola_core.students.prompting import FramedTower, PromptedTower, norm_parameters, takes_tokens
from tests.tiny import CLIP_CONFIG


def native(**vision: object) -> nn.Module:
    config = {**CLIP_CONFIG, "vision_cfg": {**CLIP_CONFIG["vision_cfg"], **vision}}
    return open_clip.CLIP(**config).visual.eval()


def siglip() -> nn.Module:
    """A SigLIP-style tower: no class token, attention pooling, timm's ViT inside open_clip's adapter."""
    tower = TimmModel("vit_base_patch16_siglip_224", 24, image_size=16, pool="map", proj="none")
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
    """Blocks that do nothing, so that prompts that are not pooled cannot change the feature."""
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


def test_the_norms_of_a_transformer_are_all_of_them_and_nothing_else() -> None:
    tower = native()
    norms = norm_parameters(tower)
    modules = ["ln_pre", "ln_post", *[f"transformer.resblocks.{i}.ln_{j}" for i in (0, 1) for j in (1, 2)]]
    assert set(norms) == {f"{module}.{key}" for module in modules for key in ("weight", "bias")}
    assert all(dict(tower.named_parameters())[name] is parameter for name, parameter in norms.items())


def resnet() -> nn.Module:
    config = open_clip.get_model_config("RN50")
    config["vision_cfg"].update(layers=[1, 1, 1, 1], width=8, image_size=32)
    return open_clip.CLIP(**config).visual.eval()


def convnext() -> nn.Module:
    tower = TimmModel("test_convnext", 16, image_size=32, pool="avg", proj="linear")
    return tower.eval()


def conse() -> nn.Module:
    names = nn.functional.normalize(torch.randn(1000, 12), dim=-1)
    return ConseTower(timm.create_model("test_efficientnet"), names, image_size=32).eval()


CONVOLUTIONAL = {"resnet": resnet, "convnext": convnext, "conse": conse}
PHOTOS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TOWERS)
def test_transformers_take_tokens(name: str) -> None:
    assert takes_tokens(TOWERS[name]())


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_other_tower_takes_a_frame_that_begins_as_nothing(name: str) -> None:
    tower = CONVOLUTIONAL[name]()
    assert not takes_tokens(tower)
    framed = FramedTower(tower, width=0.1)
    assert isinstance(framed, FramedTower) and framed.frame.shape == (3, 32 * 32 - 26 * 26)  # 3 pixels on each side
    with torch.no_grad():
        assert torch.equal(framed(PHOTOS), tower(PHOTOS))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_frame_is_added_to_the_border_and_learns(name: str) -> None:
    """The oracle: every pixel of the frame set in a loop."""
    tower = CONVOLUTIONAL[name]()
    framed = FramedTower(tower, width=0.1)
    nn.init.normal_(framed.frame)
    images, place = PHOTOS.clone(), 0
    for y in range(32):
        for x in range(32):
            if min(x, y, 31 - x, 31 - y) < 3:
                images[:, :, y, x] += framed.frame[:, place].detach()
                place += 1
    assert place == framed.frame.shape[1]
    features = framed(PHOTOS)
    torch.testing.assert_close(features, tower(images))
    features.square().sum().backward()
    assert framed.frame.grad is not None
    reached = framed.frame.grad.abs().sum(dim=0) > 0
    assert reached.float().mean() > 0.9  # a stride may pass over the outermost row


@pytest.mark.parametrize(
    ("name", "kind", "some"),
    [
        ("resnet", nn.BatchNorm2d, "layer2.0.downsample.1.weight"),
        ("convnext", nn.LayerNorm, "trunk.head.norm.bias"),
        ("conse", nn.BatchNorm2d, "classifier.bn1.weight"),
    ],
)
def test_the_norms_of_a_convolutional_tower_are_its_scales_and_shifts(name: str, kind: type[nn.Module], some: str) -> None:
    tower = CONVOLUTIONAL[name]()
    norms = norm_parameters(tower)
    assert some in norms and len(norms) == 2 * sum(isinstance(module, kind) for module in tower.modules())


def test_towers_that_are_neither_take_a_frame_too() -> None:
    tower = TimmModel("eva02_tiny_patch14_224", 16, image_size=224, pool="token", proj="linear")
    assert not takes_tokens(tower)
