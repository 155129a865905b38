"""timm models from a folder and from a checkpoint file, with their own transforms, and all errors of loading one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data.config import resolve_model_data_config

from nola_core.backbones.encoder import ImageEncoder, weights_sha256
from nola_core.backbones.pairs import SslSpec
from nola_core.backbones.ssl import load_ssl
from nola_core.errors import NolaError
from tests.backbones.test_clip import Trap
from tests.tiny import write_ssl


def spec(model: str = "local-dir:ssl", checkpoint: str | None = None, sha256: str | None = None) -> SslSpec:
    return SslSpec(model=model, checkpoint=checkpoint, sha256=sha256)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_ssl(root / "ssl")
    module = timm.create_model("test_vit", pretrained=False, num_classes=0)
    save_file(module.state_dict(), root / "test_vit.safetensors")
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, root / "test_vit.pt")
    return root


def image_of(width: int = 30, height: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def features_of(encoder: ImageEncoder) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.module(encoder.preprocess(image_of())[None])


def test_a_folder_gives_the_class_token_of_a_frozen_model(root: Path) -> None:
    encoder = load_ssl(spec(), root=root)
    assert not encoder.module.training and not any(parameter.requires_grad for parameter in encoder.module.parameters())
    pixels = encoder.preprocess(image_of())
    assert pixels.shape == (3, 16, 16)
    with torch.inference_mode():
        tokens = cast(Any, encoder.module).forward_features(pixels[None])
    assert torch.equal(features_of(encoder), tokens[:, 0]) and encoder.dim == 24
    assert encoder.meta["model"] == encoder.meta["weights"] == "local-dir:ssl"


def test_checkpoint_files_of_both_formats_are_the_same_weights(root: Path) -> None:
    one = load_ssl(spec("test_vit", "test_vit.safetensors"), root=root)
    two = load_ssl(spec("test_vit", "test_vit.pt"), root=root)
    assert one.meta["weights_sha256"] == two.meta["weights_sha256"] == weights_sha256(one.module)
    assert torch.equal(features_of(one), features_of(two))
    assert one.meta["weights"] == "test_vit.safetensors" and one.dim == features_of(one).shape[1]
    digest = one.meta["weights_sha256"]
    assert load_ssl(spec("test_vit", "test_vit.pt", digest), root=root).meta == two.meta
    with pytest.raises(NolaError, match=r"SSL model test_vit: the loaded weights have SHA-256 .* but the pair specifies 0{16}"):
        load_ssl(spec("test_vit", "test_vit.pt", "0" * 64), root=root)


def test_the_transform_is_the_models_own_and_recorded(root: Path) -> None:
    tiny, other = load_ssl(spec(), root=root), load_ssl(spec("test_vit", "test_vit.pt"), root=root)
    data = resolve_model_data_config(other.module)
    assert other.preprocess(image_of()).shape == data["input_size"] != tiny.preprocess(image_of()).shape
    white = Image.new("RGB", (200, 200), "white")
    for encoder, mean, std in ((tiny, (0.5,) * 3, (0.5,) * 3), (other, data["mean"], data["std"])):
        expected = [(1 - m) / s for m, s in zip(mean, std, strict=True)]
        assert encoder.preprocess(white)[:, 0, 0].tolist() == pytest.approx(expected)
        transform = encoder.meta["transform"].replace("[", "(").replace("]", ")")
        for part in (f"mean={mean}", f"std={std}", "interpolation=", "input_size=(3, ", "crop_pct=", "library=timm "):
            assert part in transform


def test_the_width_is_what_the_model_returns(tmp_path: Path) -> None:
    module = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0)
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    encoder = load_ssl(spec("mobilenetv3_small_050", "m.safetensors"), root=tmp_path)
    assert encoder.dim == features_of(encoder).shape[1] != module.num_features


def write_headed(folder: Path, *, drop: str = "") -> Path:
    """A timm folder whose model has a classifier, like a supervised model."""
    write_ssl(folder)
    config = json.loads((folder / "config.json").read_text())
    config["num_classes"] = config["pretrained_cfg"]["num_classes"] = config["model_args"]["num_classes"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights |= {"head.weight": torch.zeros(5, 24), "head.bias": torch.zeros(5)}
    weights.pop(drop, None)
    save_file(weights, folder / "model.safetensors")
    return folder


def test_a_classifier_is_taken_off_but_no_other_weight_may_be_missing(root: Path, tmp_path: Path) -> None:
    write_headed(tmp_path / "whole")
    encoder = load_ssl(spec("local-dir:whole"), root=tmp_path)
    assert torch.equal(features_of(encoder), features_of(load_ssl(spec(), root=root))) and encoder.dim == 24
    write_headed(tmp_path / "lacking", drop="blocks.0.attn.qkv.weight")
    with pytest.raises(NolaError, match=r"local-dir:lacking: its weights could not be loaded \(.*blocks.0.attn.qkv.weight"):
        load_ssl(spec("local-dir:lacking"), root=tmp_path)


def test_weights_that_do_not_fit_are_refused(root: Path, tmp_path: Path) -> None:
    weights = load_file(root / "test_vit.safetensors")
    del weights["norm.bias"]
    save_file(weights, tmp_path / "lacking.safetensors")
    with pytest.raises(NolaError, match=r"could not be loaded \(.*norm.bias"):
        load_ssl(spec("test_vit", "lacking.safetensors"), root=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NolaError, match=r"SSL model local-dir:empty: its weights could not be loaded"):
        load_ssl(spec("local-dir:empty"), root=tmp_path)


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
def test_a_pickle_that_is_more_than_weights_is_refused_and_not_run(root: Path, tmp_path: Path, kind: str) -> None:
    trap: dict[str, Any] = {"trap": Trap(tmp_path / "sprung")}
    if kind == "checkpoint":
        torch.save({**load_file(root / "test_vit.safetensors"), **trap}, tmp_path / "trap.pt")
        trapped = spec("test_vit", "trap.pt")
    else:
        weights = write_ssl(tmp_path / "ssl") / "model.safetensors"
        torch.save({**load_file(weights), **trap}, tmp_path / "ssl" / "pytorch_model.bin")
        weights.unlink()
        trapped = spec()
    with pytest.raises(NolaError, match=r"its weights could not be loaded \(weights_only=True blocked"):
        load_ssl(trapped, root=tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (spec("local-dir:sls"), r"model 'local-dir:sls': the folder .*/sls does not exist"),
        (spec("test_vit", "gone.pt"), r"SSL model test_vit: the checkpoint .*/gone.pt does not exist"),
        (
            spec("dino:x"),
            r"model 'dino:x': unknown prefix 'dino:'; use local-dir:, package:, hf-hub:, wheel: or a name",
        ),
        (SslSpec(model="vit_base_patch14_dinov2", image_size=256), r"image_size 256 .* size 14; use 252 or 266"),
        (SslSpec(model="local-dir:ssl", image_size=32), r"its config defines the image size; remove image_size"),
        (spec("vit_base_patch16_dinov4"), r"timm has no model 'vit_base_patch16_dinov4'; similar names: vit_base_patch16_dinov3"),
        (
            spec("vit_base_patch16_224.dinno"),
            r"timm model vit_base_patch16_224 has no weights tagged 'dinno'; available tags: .*dino",
        ),
    ],
)
def test_wrong_names_are_refused_with_near_ones(root: Path, wrong: SslSpec, sentence: str) -> None:
    with pytest.raises(NolaError, match=sentence):
        load_ssl(wrong, root=root)
