"""Stage `predict`: every method's predictions for every image, what can be said without labels, and the model to take away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from nola_core.backbones.clip import Clip, load_clip
from nola_core.classifier import Classifier
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.extraction import loaded_batches
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, table_writer, write_json
from nola_core.inputs import Inputs
from nola_core.methods import storage
from nola_core.methods.collection import spaces
from nola_core.methods.method import FittedMethod, Method, Student, StudentMethod, TextMethod
from nola_core.prediction import GIVEN_SCHEMA, Predictions, predict, prediction_table, with_given
from nola_core.progress import progress
from nola_core.stages.paths import Paths
from nola_core.text_classifier import TextClassifier
from nola_core.trust import findings, signals
from nola_core.trust.variety import Variety

BATCH = 256  # images a step
WRITTEN = 8192  # rows written at once, by one method


def run(paths: Paths, inputs: Inputs) -> None:
    """Ask every method in force about every usable image of every split, and write the final one's model folder."""
    stores = {
        split: {role: FeatureStore.open(paths.store(role, split)) for role in ("clip", "ssl")} for split in paths.splits("clip")
    }
    meta = {role: store.meta for role, store in next(iter(stores.values())).items()}
    about = _about(paths, inputs, meta)
    final, given = str(inputs.values["final"]), inputs.given(about["classes"], taught=False)
    with table_writer(paths["predictions.parquet"], GIVEN_SCHEMA if given else PREDICTION_SCHEMA) as write:
        answers = Answers((lambda table: write(with_given(table, given))) if given else write)
        for name in inputs.values["methods"]:
            method, _ = inputs.method(paths.root, name, Method)
            classifier = _classifier(paths, inputs, method, about)
            for split, both in stores.items():
                if isinstance(classifier.fitted, Student):
                    _ask_about_images(paths, answers, classifier, split, both["clip"])
                else:
                    answers.from_features(classifier, split, both)
                answers.flush()
            if name == final:
                classifier.save(paths["model"])
    write_json(paths["label_free.json"], answers.label_free(stores))
    write_findings(paths, inputs, stores, about["classes"])


def write_findings(paths: Paths, inputs: Inputs, stores: Mapping[str, Mapping[str, FeatureStore]], names: list[str]) -> None:
    """Unknown scores, groups and proportions, from the predictions on disk: no method's probabilities are kept in memory."""
    base = str(inputs.values["text_classifier"])
    chosen = read_table(paths["pseudo_labels.parquet"], ["image_id", "class_id", "selected"])
    findings.write(
        paths.folder,
        Predictions.open(paths["predictions.parquet"]),
        stores,
        final=str(inputs.values["final"]),
        text=storage.read_fitted(paths["text_classifier.safetensors"], inputs.method(paths.root, base, TextMethod)[0]),
        pseudo_labels=chosen[chosen["selected"]],
        names=names,
    )


def _classifier(paths: Paths, inputs: Inputs, method: Method, about: Mapping[str, Any]) -> Classifier:
    """The classifier of a method, without the frozen towers that the feature stores stand in for."""
    about = {
        **about,
        "method": method.name,
        "title": method.title,
        "summary": method.summary,
        "paper": method.paper,
        "options": inputs.values["methods"][method.name],
    }
    if isinstance(method, StudentMethod):
        place = device()
        clip: Clip = load_clip(inputs.clip, root=paths.root, device=place)
        _, options = inputs.method(paths.root, method.name, StudentMethod)
        student = storage.read_student(paths["fitted/students"] / f"{method.name}.safetensors", method, clip, options=options)
        about |= {"temperature": student.temperature, "backbones": {"clip": about["backbones"]["clip"]}}
        return Classifier(about=about, class_names=about["classes"], fitted=student, encoders={}, clip=clip, device=place)
    assert isinstance(method, FittedMethod)
    kind = "text" if isinstance(method, TextMethod) else "features"
    fitted = storage.read_fitted(paths["fitted"] / kind / f"{method.name}.safetensors", method)
    about["backbones"] = {role: about["backbones"][role] for role in fitted.spaces}
    if isinstance(method, TextMethod) and isinstance(fitted, TextClassifier) and inputs.values["temperature"] is not None:
        # Here alone: pseudo-labels, teachers and students start from probabilities at CLIP's own scale, as published.
        about["temperature"] = float(inputs.values["temperature"])
        fitted = fitted.cooled(about["temperature"])
    return Classifier(about=about, class_names=about["classes"], fitted=fitted, encoders={})


def _about(paths: Paths, inputs: Inputs, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the model folder says of every method; see `model_folder.About`."""
    classes = read_table(paths["classes.parquet"])
    texts = read_table(paths["description_quality.parquet"], ["class_id", "text", "kept"])
    kept = texts[texts["kept"]].groupby("class_id")["text"].agg(list)
    names = dict(zip(classes["class_id"], classes["name"], strict=True))
    backbones = {
        role: {
            "spec": inputs.values[role]["spec"],
            "licence": inputs.values["licences"][role],
            **{key: meta[role][key] for key in ("weights_sha256", "transform")},
        }
        for role in ("clip", "ssl")
    }
    return {
        "nola": version("nola"),
        "dataset": paths.dataset,
        "preset": inputs.values["preset"],
        "classes": classes["name"].tolist(),
        "display_names": classes["display_name"].tolist(),
        "templates": inputs.texts["templates"],
        "backbones": backbones,
        "precision": inputs.values["precision"],
        "descriptions": {names[row]: sentences for row, sentences in kept.items()},
        "root": paths.root,
        **({"corrections": inputs.corrections} if inputs.corrections else {}),
    }


def _ask_about_images(paths: Paths, answers: Answers, classifier: Classifier, split: str, store: FeatureStore) -> None:
    assert classifier.clip is not None
    ids = store.index["image_id"].tolist()
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    view, open_image = classifier.clip.image.preprocess, image_opener(paths.root, paths.dataset)
    with progress(total=len(ids), what=f"predict {split}, {classifier.method}", unit="images") as advance:
        for batch, images in loaded_batches(batches, view, open_image):
            p = classifier.of_images(images)
            answers.add(split, classifier.method, prediction_table(batch, p, split=split, method=classifier.method), p)
            advance(len(batch))


class Answers:
    """Writes every method's predictions and keeps what can be told of them without labels."""

    def __init__(self, write: Callable[[pa.Table], None]) -> None:
        self._write = write
        self._waiting: list[pa.Table] = []
        self._variety: dict[str, dict[str, Variety]] = {}
        self._classes: dict[str, dict[str, list[np.ndarray]]] = {}

    def add(self, split: str, method: str, table: pa.Table, probabilities: Tensor) -> None:
        """Take rows of one method, in the order of the CLIP feature store; small tables are written together, to read fast."""
        self._waiting.append(table)
        self._variety.setdefault(split, {}).setdefault(method, Variety()).add(probabilities)
        self._classes.setdefault(split, {}).setdefault(method, []).append(table["class_id"].to_numpy())
        if sum(len(waiting) for waiting in self._waiting) >= WRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting = []

    def from_features(self, classifier: Classifier, split: str, stores: Mapping[str, FeatureStore]) -> None:
        """The predictions of a method that needs no image."""
        ids, method = stores["clip"].index["image_id"], classifier.method
        asked, classes = classifier.of_features(spaces(stores)), len(classifier.class_names)
        for table, p in predict(ids, asked, classes=classes, split=split, method=method):
            self.add(split, method, table, p)

    def label_free(self, stores: Mapping[str, Mapping[str, FeatureStore]]) -> dict[str, dict[str, dict[str, float | int]]]:
        """What label_free.json holds.

        Args:
            stores: split -> role -> feature store.
        """
        found = {}
        for split, by_method in self._variety.items():
            some, asked = signals.drawn(len(stores[split]["clip"].index))
            features = {name: space.rows(some).numpy() for name, space in spaces(stores[split]).items()}
            answers = {method: np.concatenate(parts)[some] for method, parts in self._classes[split].items()}
            ranked = signals.consistencies(features, answers, asked)
            found[split] = {method: {**ranked[method], **variety.result()} for method, variety in by_method.items()}
        return found
