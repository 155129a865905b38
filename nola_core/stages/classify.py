"""Stage `classify`: descriptions and CLIP features -> text classifiers and their zero-shot predictions."""

import pandas as pd
import torch
from torch import Tensor

from nola_core import text_classifier
from nola_core.backbones.clip import Clip, load_clip
from nola_core.config import Classify
from nola_core.descriptions.texts.quality import SCHEMA as QUALITY_SCHEMA
from nola_core.descriptions.texts.quality import assess, findings
from nola_core.device import device
from nola_core.errors import NolaError
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, table_writer, write_table
from nola_core.inputs import Inputs
from nola_core.prediction import predict
from nola_core.stages.paths import Paths
from nola_core.tensors import write_tensors
from nola_core.text_classifier import Encode


def run(paths: Paths, inputs: Inputs) -> None:
    """Build the three text classifiers (first template, all templates, CDE) and ask each about every image."""
    options = inputs.options(Classify)
    classes = read_table(paths["classes.parquet"])
    described = read_table(paths["descriptions.parquet"])
    names = classes["display_name"].tolist()
    templates = text_classifier.fill(inputs.texts["templates"], names)
    clip = load_clip(inputs.clip, root=paths.root, device=device())
    stores = {split: FeatureStore.open(paths.store("clip", split)) for split in paths.splits("clip")}
    for store in stores.values():
        if store.meta["weights_sha256"] != clip.image.meta["weights_sha256"]:
            raise NolaError(f"{store.path} was made with other CLIP weights than {inputs.clip.model} has now; run embed again.")
    encode = text_classifier.remembered(clip.encode_texts)
    scores, features = _quality(described, classes, templates, clip, encode, options)
    kept = scores[scores["kept"]]
    sentences = [kept.loc[kept["class_id"] == row, "text"].tolist() for row in classes["class_id"]]
    both = {
        "both": [mine + filled for mine, filled in zip(sentences, templates, strict=True)],
        "descriptions": sentences if len(described) else templates,
        "templates": templates,
    }
    texts = {
        "zero_shot": [filled[:1] for filled in templates],
        "templates": templates,
        "cde": both[options.texts],
    }
    classifiers = {method: text_classifier.build(encode, groups, names=names) for method, groups in texts.items()}
    write_table(paths["description_quality.parquet"], scores, QUALITY_SCHEMA)
    write_tensors(paths["description_features.safetensors"], {"features": features.half()})
    write_tensors(paths["text_classifier.safetensors"], {**classifiers, "logit_scale": torch.tensor(clip.logit_scale)})
    with table_writer(paths["zero_shot.parquet"], PREDICTION_SCHEMA) as write:
        for split, store in stores.items():
            for method, classifier in classifiers.items():
                answers = text_classifier.answers(store, classifier, logit_scale=clip.logit_scale)
                for table, _ in predict(store.index["image_id"], answers, classes=len(names), split=split, method=method):
                    write(table)
    count = sum(len(group) for group in texts["cde"])
    print(f"{len(names)} classes, {count} texts in the class-description embedding, logit scale {clip.logit_scale:.1f}")
    for line in findings(scores):
        print(f"  {line}")


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
