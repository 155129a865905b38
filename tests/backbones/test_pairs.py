"""Backbone pairs are found by name, and the models the shipped ones name exist."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import timm
import yaml

from nola_core.backbones import load_pair
from nola_core.backbones.clip import _check_names
from nola_core.backbones.pairs import PAIRS
from nola_core.errors import NolaError

DEMO = {"clip": {"model": "m", "pretrained": None, "sha256": None}, "ssl": {"model": "m", "checkpoint": None, "sha256": None}}


@pytest.mark.parametrize("name", [name for name in yaml.safe_load(PAIRS.read_text()) if name != "demo"])
def test_shipped_pairs_name_models_and_weights_that_exist(name: str) -> None:
    pair = load_pair(name)
    _check_names(pair.clip, Path())  # QuickGELU included
    assert pair.ssl.model in timm.list_pretrained()


@pytest.mark.parametrize(
    "name",
    [
        "vit_small_patch8_224.dino",
        "vit_base_patch16_224.dino",
        "vit_small_patch14_reg4_dinov2.lvd142m",
        "vit_large_patch14_dinov2.lvd142m",
        "vit_small_patch16_dinov3.lvd1689m",
        "vit_large_patch16_dinov3.lvd1689m",
    ],
)
def test_the_dino_families_are_known_to_timm(name: str) -> None:
    assert timm.is_model(name.partition(".")[0]) and name in timm.list_pretrained()


def test_the_usual_clips_are_known_to_open_clip() -> None:
    tags = open_clip.list_pretrained()
    for known in (("ViT-B-32-quickgelu", "openai"), ("ViT-B-16", "laion2b_s34b_b88k"), ("ViT-B-16-SigLIP", "webli")):
        assert known in tags


def test_a_wrong_pair_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"pairs.yaml has no backbone pair 'papr'; did you mean 'paper'\?"):
        load_pair("papr")
    with pytest.raises(NolaError, match=r"has no backbone pair 'zzz'; it has demo, paper"):
        load_pair("zzz")
    path = tmp_path / "pairs.yaml"
    path.write_text(yaml.safe_dump({"demo": {**DEMO, "clip": {"model": "m", "pretraind": None, "sha256": None}}, "half": None}))
    with pytest.raises(NolaError, match=r"pairs.yaml: demo: .*unknown key 'clip.pretraind': did you mean 'pretrained'\?"):
        load_pair("demo", path=path)
    with pytest.raises(NolaError, match=r"pairs.yaml: half: the entry must hold `key: value` lines; found None"):
        load_pair("half", path=path)
