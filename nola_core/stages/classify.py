"""Stage `classify`: descriptions -> text classifiers, and the zero-shot predictions that pseudo-labels are chosen from."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from nola_core import text_classifier
from nola_core.backbones.clip import Clip, load_clip
from nola_core.config import Classify
from nola_core.description_quality import SCHEMA as QUALITY_SCHEMA
from nola_core.description_quality import assess, findings
from nola_core.device import device
from nola_core.errors import NolaError
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, replacing, table_writer, write_json, write_table
from nola_core.inputs import Inputs
from nola_core.methods import storage
from nola_core.methods.collection import Space, Texts, answers
from nola_core.methods.method import Encode, TextMethod
from nola_core.prediction import predict
from nola_core.stages.paths import Paths
from nola_core.tensors import write_tensors
from nola_core.trust import names as trust
from nola_core.trust.words import NOUNS


def run(paths: Paths, inputs: Inputs) -> None:
    """Fit the text methods, and ask the text classifier, the one that the others start from, about every train image."""
    options = inputs.options(Classify)
    classes = read_table(paths["classes.parquet"])
    described = read_table(paths["descriptions.parquet"])
    names = classes["display_name"].tolist()
    templates = text_classifier.fill(inputs.texts["templates"], names)
    store = FeatureStore.open(paths.store("clip", "train"))
    clip = load_clip(inputs.clip, root=paths.root, device=device())
    if store.meta["weights_sha256"] != clip.image.meta["weights_sha256"]:
        raise NolaError(f"{store.path} was made with other CLIP weights than {inputs.clip.model} has now; run embed again.")
    encode = text_classifier.remembered(clip.encode_texts)
    scores, features = _quality(described, classes, templates, clip, encode, options)
    write_table(paths["description_quality.parquet"], scores, QUALITY_SCHEMA)
    write_tensors(paths["description_features.safetensors"], {"features": features.half()})

    kept = scores[scores["kept"]]
    sentences = [kept.loc[kept["class_id"] == row, "text"].tolist() for row in classes["class_id"]]
    texts = Texts(names, templates, sentences, encode, clip.logit_scale, inputs.texts["templates"])
    base = str(inputs.values["text_classifier"])
    with replacing(paths["fitted/text"]) as scratch:
        scratch.mkdir()
        for name, (method, its_options) in inputs.methods(paths.root, TextMethod).items():
            fitted = method.fit(texts, options=its_options)
            storage.write(scratch / f"{name}.safetensors", method, fitted.tensors())
            if name == base:
                storage.write(paths["text_classifier.safetensors"], method, fitted.tensors())
                chosen, count = fitted, sum(len(group) for group in method.texts(texts, its_options))
    told = trust.record(
        _names(Space(store.features), names, inputs.texts["templates"], encode), classes["name"].tolist(), described=len(kept) > 0
    )
    write_json(paths["names.json"], told)
    asked = answers(chosen, {"clip": Space(store.features)})
    with table_writer(paths["zero_shot.parquet"], PREDICTION_SCHEMA) as write:
        for table, _ in predict(store.index["image_id"], asked, classes=len(names), split="train", method=base):
            write(table)
    print(f"{len(names)} classes, {count} texts in the text classifier {base}, logit scale {clip.logit_scale:.1f}")
    for line in findings(scores):
        print(f"  {line}")
    if sentence := trust.verdict(told):
        print(f"  {sentence}")


def _names(space: Space, names: list[str], templates: list[str], encode: Encode) -> dict[str, Any]:
    """How far the images stand out in the names, without any description; see `trust.names.measured`."""
    patterns = templates[: trust.TEMPLATES]
    mine, nouns = (
        text_classifier.build(encode, text_classifier.fill(patterns, words), names=words).numpy() for words in (names, NOUNS)
    )
    return trust.measured(space.rows(trust.drawn(len(space))).numpy(), mine, nouns)


def _quality(
    described: pd.DataFrame, classes: pd.DataFrame, templates: list[list[str]], clip: Clip, encode: Encode, settings: Classify
) -> tuple[pd.DataFrame, Tensor]:
    """The table of description quality and the descriptions' features, float32 [T, d], in its order."""
    texts = described["text"].tolist()
    if not texts:
        return QUALITY_SCHEMA.empty_table().to_pandas(), torch.empty(0, clip.image.dim)
    features = encode(texts)
    scores = assess(
        described,
        classes,
        features=features,
        templates=torch.stack([encode(filled).sum(dim=0) for filled in templates]),
        tokens=clip.token_counts(texts),
        context_length=clip.context_length,
        neighbors=settings.neighbors,
        keep=settings.keep,
    )
    return scores, features
