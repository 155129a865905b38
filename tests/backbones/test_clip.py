"""open_clip models from a folder in open_clip's format, and all errors of loading one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.errors import NolaError
from tests.tiny import write_clip


def spec(model: str = "local-dir:clip", pretrained: str | None = None, sha256: str | None = None) -> ClipSpec:
    return ClipSpec(model=model, pretrained=pretrained, sha256=sha256)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_clip(root / "clip")
    return root


@pytest.fixture(scope="module")
def clip(root: Path) -> Clip:
    return load_clip(spec(), root=root)


def copy_of(root: Path, folder: Path, *, weights: bool = True, **preprocess: Any) -> Path:
    """A copy of the tiny model with different preprocessing."""
    folder.mkdir()
    config = json.loads((root / "clip" / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= preprocess
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if weights:
        (folder / "open_clip_model.safetensors").write_bytes((root / "clip" / "open_clip_model.safetensors").read_bytes())
    return folder


def test_both_towers_are_frozen_and_give_features_of_one_width(clip: Clip) -> None:
    assert not any(parameter.requires_grad for parameter in clip.model.parameters()) and not clip.model.training
    assert clip.context_length == 16 and clip.logit_scale == pytest.approx(1 / 0.07)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8))
    pixels = clip.image.preprocess(image)
    assert pixels.shape == (3, 16, 16) and pixels.dtype == torch.float32
    with torch.inference_mode():
        features = clip.image.module(pixels[None])
        assert torch.equal(features, clip.model.encode_image(pixels[None]))
    assert features.shape == (1, clip.image.dim) == (1, 16)


def test_texts_are_normalised_and_do_not_depend_on_their_batch(clip: Clip) -> None:
    texts = [f"a photo of {number} dogs" for number in range(7)]
    features = clip.encode_texts(texts)
    assert features.shape == (7, 16) and torch.allclose(features.norm(dim=1), torch.ones(7), atol=1e-6)
    assert torch.allclose(clip.encode_texts(texts, batch_size=2), features, atol=1e-6)
    assert clip.encode_texts([]).shape == (0, 16)


def test_preprocessing_comes_with_the_model_and_is_recorded(root: Path, clip: Clip, tmp_path: Path) -> None:
    copy_of(root, tmp_path / "clip", mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 0.2], interpolation="bilinear")
    other = load_clip(spec(), root=tmp_path)
    white = Image.new("RGB", (16, 16), "white")
    assert clip.image.preprocess(white)[:, 0, 0].tolist() == pytest.approx([1, 1, 1])
    assert other.image.preprocess(white)[:, 0, 0].tolist() == pytest.approx([0.9 / 0.5, 0.8 / 0.25, 0.7 / 0.2])
    assert other.image.meta["weights_sha256"] == clip.image.meta["weights_sha256"]
    assert "mean=(0.5, 0.5, 0.5)" in clip.image.meta["transform"].replace("[", "(").replace("]", ")")
    for part in ("0.1, 0.2, 0.3", "0.5, 0.25, 0.2", "interpolation=bilinear", "size=(16, 16)", "library=open_clip"):
        assert part in other.image.meta["transform"]


def test_torch_files_load_and_are_the_same_weights(root: Path, clip: Clip, tmp_path: Path) -> None:
    folder = copy_of(root, tmp_path / "clip", weights=False)
    torch.save(load_file(root / "clip" / "open_clip_model.safetensors"), folder / "open_clip_pytorch_model.bin")
    loaded = load_clip(spec(), root=tmp_path)
    assert loaded.image.meta == clip.image.meta
    assert clip.image.meta["model"] == clip.image.meta["weights"] == "local-dir:clip"


class Trap:
    """A pickle that writes a file when it is loaded as one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_is_more_than_weights_is_refused_and_not_run(root: Path, tmp_path: Path) -> None:
    folder = copy_of(root, tmp_path / "clip", weights=False)
    weights = {**load_file(root / "clip" / "open_clip_model.safetensors"), "trap": Trap(tmp_path / "sprung")}
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(NolaError, match=r"local-dir:clip: its weights could not be loaded \(.*[Ww]eights"):
        load_clip(spec(), root=tmp_path)
    assert not (tmp_path / "sprung").exists()
    torch.load(folder / "open_clip_pytorch_model.bin", weights_only=False)
    assert (tmp_path / "sprung").exists()  # so the trap was a real one


def test_pinned_weights(root: Path, clip: Clip, tmp_path: Path) -> None:
    digest = clip.image.meta["weights_sha256"]
    assert load_clip(spec(sha256=digest), root=root).image.meta == clip.image.meta
    folder = copy_of(root, tmp_path / "clip", weights=False)
    weights = load_file(root / "clip" / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, folder / "open_clip_model.safetensors")
    with pytest.raises(NolaError, match=rf"SHA-256 [0-9a-f]{{16}}\.\.\., but the pair specifies {digest[:16]}"):
        load_clip(spec(sha256=digest), root=tmp_path)


def test_weights_that_do_not_fit_or_are_not_there(root: Path, tmp_path: Path) -> None:
    folder = copy_of(root, tmp_path / "clip", weights=False)
    with pytest.raises(NolaError, match=r"CLIP model local-dir:clip: its weights could not be loaded \(Required pretrained"):
        load_clip(spec(), root=tmp_path)
    weights = load_file(root / "clip" / "open_clip_model.safetensors")
    del weights["visual.proj"]
    save_file(weights, folder / "open_clip_model.safetensors")
    with pytest.raises(NolaError, match=r"could not be loaded \(.*visual.proj"):
        load_clip(spec(), root=tmp_path)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(NolaError, match=r"could not be loaded \(.*config file missing"):
        load_clip(spec(), root=tmp_path)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (spec("local-dir:clpi"), r"model 'local-dir:clpi': the folder .*/clpi does not exist"),
        (spec("package:demo/clpi"), r"model 'package:demo/clpi': the folder .*/demo/clpi does not exist"),
        (spec("local-dir:clip", "openai"), r"local-dir:clip brings its own weights; set `pretrained` to null"),
        (
            spec("hfhub:me/clip"),
            r"model 'hfhub:me/clip': no model begins with 'hfhub:'; known are local-dir:, package:, hf-hub:, conse: and",
        ),
        (
            ClipSpec(model="ViT-B-32", pretrained="openai", image_size=200),
            r"image_size 200 is not a multiple .* 32; use 192 or 224",
        ),
        (ClipSpec(model="RN50", pretrained="openai", image_size=256), r"attention pooling accepts only images of 224 pixels"),
        (ClipSpec(model="ViT-B-16-SigLIP2", pretrained="webli", image_size=250), r"image_size 250 .* size 16; use 240 or 256"),
        (spec("ViT-B32", "openai"), r"open_clip has no model 'ViT-B32'; similar names: ViT-B-32"),
        (
            spec("ViT-B-32", "laion3b"),
            r"ViT-B-32 has no weights 'laion3b' \(neither a tag nor a file\); available tags: openai, laion400m_e31",
        ),
        (spec("ViT-B-32"), r"ViT-B-32 has no `pretrained`; set it to a path or one of: openai"),
        (spec("ViT-B-32", "openai"), r"QuickGELU mismatch: .* trained with it; use the model name that ends in -quickgelu"),
        (spec("ViT-B-32-quickgelu", "laion2b_s34b_b79k"), r"has no weights 'laion2b_s34b_b79k'"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_downloaded(
    root: Path, monkeypatch: pytest.MonkeyPatch, wrong: ClipSpec, sentence: str
) -> None:
    def no_network(*_: Any, **__: Any) -> str:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", no_network)
    with pytest.raises(NolaError, match=sentence):
        load_clip(wrong, root=root)
