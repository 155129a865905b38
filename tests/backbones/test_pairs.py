"""Backbones are found by name, and the models in pairs.yaml exist in the installed libraries."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import timm
import yaml

from nola_core.backbones.pairs import PAIRS, ClipSpec, SslSpec, load_pair
from nola_core.errors import NolaError

KNOWN = yaml.safe_load(PAIRS.read_text())
CLIPS, SSLS = ({name: spec for name, spec in KNOWN[role].items() if ":" not in spec["model"]} for role in ("clip", "ssl"))


@pytest.mark.parametrize("name", CLIPS)
def test_shipped_clips_are_known_to_open_clip_with_their_activation(name: str) -> None:
    model, tag = CLIPS[name]["model"], CLIPS[name]["pretrained"]
    assert (model, tag) in open_clip.list_pretrained()
    trained_with = open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False)
    assert open_clip.get_model_config(model).get("quick_gelu", False) == trained_with


@pytest.mark.parametrize("name", SSLS)
def test_shipped_ssl_models_are_known_to_timm(name: str) -> None:
    assert SSLS[name]["model"] in timm.list_pretrained()


def test_the_papers_and_todays_models_are_there() -> None:
    assert set(CLIPS) >= {"openai-b32", "openai-b16", "openai-l14", "laion-b32", "laion-b16", "siglip2-b16", "dfn-b16"}
    assert set(SSLS) >= {"dino", "dinov2", "dinov2-reg", "dinov3"}
    assert {"demo", "offline", "paper"} <= set(KNOWN["pairs"])
    for name in KNOWN["pairs"]:
        load_pair(name)


def test_a_pair_is_a_name_or_two_names_or_written_out() -> None:
    paper = load_pair("paper")
    assert paper.clip == ClipSpec(model="ViT-B-32-quickgelu", pretrained="openai", licence="MIT", temperature=0.68)
    assert paper.ssl == SslSpec(model="vit_base_patch16_224.dino", licence="Apache-2.0")
    assert load_pair("openai-b32+dino") == load_pair({"clip": "openai-b32", "ssl": "dino"}) == paper
    mine = load_pair({"clip": {"model": "ViT-B-16", "pretrained": "weights/mine.pt", "image_size": 160}, "ssl": "dinov3"})
    assert (mine.clip.weights, mine.clip.image_size, mine.ssl.weights) == (
        "weights/mine.pt",
        160,
        KNOWN["ssl"]["dinov3"]["model"],
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("papr", r"pairs.yaml has no backbone pair 'papr'; did you mean 'paper'\?"),
        ("zzz", r"has no backbone pair 'zzz'; it has demo, offline, paper"),
        ("openai-b32+dinov9", r"has no ssl model 'dinov9'; did you mean 'dinov3'\?"),
        ({"clip": "openai"}, r"has no clip model 'openai'; did you mean 'openai-"),
        ({"clip": {"model": "m", "temperature": 0}, "ssl": "dino"}, r"clip.temperature"),
        ({"clip": {"model": "m", "pretraind": "x"}, "ssl": "dino"}, r"unknown key 'clip.pretraind': did you mean 'pretrained'\?"),
        ({"clip": "demo"}, r"backbones: key 'ssl' is missing"),
        ({"clip": None, "ssl": "dino"}, r"'clip' must hold `key: value` lines; found None"),
        ({"clip": "demo", "sll": "dino"}, r"unknown key 'sll': did you mean 'ssl'\?"),
    ],
)
def test_a_wrong_choice_is_one_sentence(wrong: str | dict[str, object], sentence: str) -> None:
    with pytest.raises(NolaError, match=sentence):
        load_pair(wrong)


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"gone.yaml does not exist"):
        load_pair("demo", path=tmp_path / "gone.yaml")
