"""Stage `fit`: the feature methods, fitted on cached features, and the teacher's answer for every train image."""

import numpy as np
import torch
from torch.nn.functional import normalize

from nola_core.corrections import NO_CLASS
from nola_core.errors import NolaError
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, replacing, table_writer
from nola_core.inputs import Inputs
from nola_core.methods import storage
from nola_core.methods.collection import Collection, Descriptions, answers, pinned, spaces
from nola_core.methods.method import FeatureMethod, Fitted, FittedMethod, TextMethod
from nola_core.prediction import predict
from nola_core.stages.paths import Paths
from nola_core.tensors import read_tensors


def run(paths: Paths, inputs: Inputs) -> None:
    """Fit every feature method in force on the train images, and write the teacher's answers once for all students."""
    classes = read_table(paths["classes.parquet"])
    chosen = read_table(paths["pseudo_labels.parquet"], ["image_id", "class_id", "confidence", "selected"])
    stores = {role: FeatureStore.open(paths.store(role, "train")) for role in ("clip", "ssl")}
    base, teacher = str(inputs.values["text_classifier"]), str(inputs.values["teacher"])
    text = storage.read_fitted(paths["text_classifier.safetensors"], inputs.method(paths.root, base, TextMethod)[0])
    names, ids = classes["name"].tolist(), stores["clip"].index["image_id"]
    of_space, given = spaces(stores), inputs.given(names)
    if NO_CLASS in given.values():  # what is none of the classes tells nothing about them
        kept = np.flatnonzero(ids.map(lambda image_id: given.get(image_id) != NO_CLASS))
        ids, of_space = ids.iloc[kept].reset_index(drop=True), {name: space.only(kept) for name, space in of_space.items()}
    collection = Collection(
        names=names,
        image_ids=ids,
        spaces=of_space,
        text=text,
        pseudo_labels=chosen[chosen["selected"]].drop(columns="selected"),
        descriptions=described(paths),
        given={row: given[image_id] for row, image_id in enumerate(ids) if image_id in given} if given else {},
    )
    taught: Fitted | None = None
    with replacing(paths["fitted/features"]) as scratch:
        scratch.mkdir()
        for name, (method, options) in inputs.methods(paths.root, FeatureMethod).items():
            fitted = method.fit(collection, options=options, seed=inputs.seed)
            storage.write(scratch / f"{name}.safetensors", method, fitted.tensors())
            taught = fitted if name == teacher else taught
            print(f"{name}: fitted on {len(collection.image_ids):,} images")
    if taught is None:
        method, _ = inputs.method(paths.root, teacher, FittedMethod)
        taught = storage.read_fitted(paths["fitted/text"] / f"{teacher}.safetensors", method)
    with table_writer(paths["teacher.parquet"], PREDICTION_SCHEMA) as write:
        for table, _ in predict(
            collection.image_ids,
            pinned(answers(taught, collection.spaces), collection.given),
            classes=len(classes),
            split="train",
            method=teacher,
        ):
            write(table)
    print(f"{teacher} teaches {len(collection.image_ids):,} images; {len(collection.pseudo_labels):,} pseudo-labels")


def described(paths: Paths) -> Descriptions:
    """The descriptions in use and their features."""
    table = read_table(paths["description_quality.parquet"], ["class_id", "kept"])
    kept = torch.from_numpy(table["kept"].to_numpy(dtype=bool, copy=True))
    class_ids = torch.from_numpy(table["class_id"].to_numpy(dtype="int64", copy=True))
    features = read_tensors(paths["description_features.safetensors"])["features"]
    if len(features) != len(kept):
        raise NolaError(
            f"{paths['description_features.safetensors']} has {len(features)} rows, description_quality.parquet {len(kept)}; "
            "run classify again."
        )
    return Descriptions(class_ids[kept], normalize(features[kept].float(), dim=1))
