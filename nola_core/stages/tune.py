"""Stage `tune`: the teacher's answers -> the students."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from open_clip.transform import PreprocessCfg

from nola_core import text_classifier
from nola_core.algebra import temperature
from nola_core.backbones.clip import Clip, load_clip
from nola_core.batches import image_batch, in_batches
from nola_core.corrections import NO_CLASS
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.errors import NolaError
from nola_core.extraction import loaded_batches
from nola_core.features import FeatureStore
from nola_core.files import read_table, replacing, sha256_file
from nola_core.inputs import Inputs
from nola_core.methods import storage
from nola_core.methods.collection import Texts, spaces
from nola_core.methods.method import Student, StudentMethod, TextMethod
from nola_core.prediction import corrected, matrix
from nola_core.progress import progress
from nola_core.stages.paths import Paths
from nola_core.students import captions, loop
from nola_core.students.images import Images
from nola_core.students.lesson import Lesson, TopClasses

CALIBRATED = 5000
"""Train images at most that the temperature is fitted on, spread evenly over all."""
BATCH = 64  # images decoded together
TOP = ["top_classes", "top_probabilities"]


def run(paths: Paths, inputs: Inputs) -> None:
    """Tune every student in force on strong views of all train images."""
    curves = [pd.DataFrame(columns=["method", *loop.CURVE])]
    with replacing(paths["fitted/students"]) as scratch:
        scratch.mkdir()
        for name, (method, options) in inputs.methods(paths.root, StudentMethod).items():
            place = device()
            clip = load_clip(inputs.clip, root=paths.root, device=place)  # each student changes its own
            weights = clip.image.meta["weights_sha256"]
            lesson = _lesson(paths, inputs, clip, captioned=method.captions and inputs.values["captions"] is not None)
            key = {
                "method": name,
                "code": inputs.code,
                "options": options.model_dump(),
                "seed": inputs.seed,
                "clip": weights,
                "teacher": sha256_file(paths["teacher.parquet"]),
                "zero_shot": sha256_file(paths["zero_shot.parquet"]),
                "classifier": sha256_file(paths["text_classifier.safetensors"]),
                "descriptions": sha256_file(paths["description_quality.parquet"]),
                "device": place.type,
            } | ({"captions": inputs.values["captions"]} if method.captions else {})
            key |= {"corrections": inputs.values["corrections"]} if "corrections" in inputs.values else {}
            student, curve = method.tune(
                clip,
                lesson,
                options=options,
                seed=inputs.seed,
                device=place,
                checkpoint=paths.cache / "checkpoints" / paths.dataset / f"{name}-{loop.checkpoint_key(key)}.pt",
            )
            student.temperature = _temperature(student, lesson, clip)
            tensors = student.tensors()
            storage.write(scratch / f"{name}.safetensors", method, tensors, clip_sha256=weights)
            curves.append(curve.assign(method=name))
            count = sum(tensor.numel() for tensor in tensors.values())
            print(
                f"{name}: {count:,} parameters tuned on {len(lesson.targets):,} images, {len(curve)} epochs; "
                f"temperature {student.temperature:.2f}"
            )
    if len(curves) == 1:
        print("none of the methods in params.yaml is a student: nothing to tune")
    with replacing(paths["curve.csv"]) as scratch:
        pd.concat(curves[1:] or curves)[["method", *loop.CURVE]].to_csv(scratch, index=False)


def _temperature(student: Student, lesson: Lesson, clip: Clip) -> float:
    """The temperature at which the student is, on the mean, as confident as its teacher about the train images.

    The tuned logits have no meaningful scale: the loss has label smoothing and no temperature. No label is
    read here, so the probabilities are calibrated as well as the teacher's are.
    """
    confidence = lesson.teacher.probabilities[:, 0].numpy()
    rows = np.unique(np.linspace(0, len(confidence) - 1, min(len(confidence), CALIBRATED)).round().astype(np.int64))
    ids = [lesson.images.ids[row] for row in rows]
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    place, parts = next(clip.model.parameters()).device, []
    with progress(total=len(ids), what="calibrate", unit="images") as advance:
        for batch, images in loaded_batches(batches, clip.image.preprocess, lesson.images.open):
            part = in_batches(lambda views: student.logits(views.to(place)).float().cpu(), images, size=image_batch(place))
            parts.append(part)
            advance(len(batch))
    return temperature.for_confidence(torch.cat(parts), float(confidence[rows].mean()))


def _lesson(paths: Paths, inputs: Inputs, clip: Clip, *, captioned: bool) -> Lesson:
    """What every student learns from."""
    text, _ = inputs.method(paths.root, str(inputs.values["text_classifier"]), TextMethod)
    teacher = read_table(paths["teacher.parquet"], ["image_id", *TOP])
    zero_shot = read_table(paths["zero_shot.parquet"], ["image_id", *TOP])
    store = FeatureStore.open(paths.store("clip", "train"))
    ids, given = teacher["image_id"], inputs.given(read_table(paths["classes.parquet"], ["name"])["name"].tolist())
    kept = np.flatnonzero(zero_shot["image_id"].map(lambda image_id: given.get(image_id) != NO_CLASS))
    if not (zero_shot["image_id"].equals(store.index["image_id"]) and ids.tolist() == zero_shot["image_id"].iloc[kept].tolist()):
        raise NolaError(f"the tables of {paths.folder} are not about the same images; run embed, classify and fit again.")
    preprocess = PreprocessCfg(**clip.model.visual.preprocess_cfg)
    height, width = (preprocess.size, preprocess.size) if isinstance(preprocess.size, int) else preprocess.size
    space = spaces({"clip": store})["clip"]
    images = Images(
        ids=ids.tolist(),
        open=image_opener(paths.root, paths.dataset),
        size=(height, width),
        mean=preprocess.mean,
        std=preprocess.std,
        weak=clip.image.preprocess,
    )
    return Lesson(
        images=images,
        teacher=_top(teacher, {}),
        classifier=storage.read_fitted(paths["text_classifier.safetensors"], text).tensors()["weights"],
        zero_shot=_top(zero_shot.iloc[kept], given),
        texts=_texts(paths, inputs, clip),
        features=space if len(kept) == len(space) else space.only(kept),
        captions=captions.read(paths["captions.parquet"], ids.tolist()) if captioned else {},
    )


def _top(table: pd.DataFrame, given: Mapping[str, int]) -> TopClasses:
    classes, probabilities = (matrix(table[column]) for column in TOP)
    classes, probabilities = corrected(table["image_id"], classes, probabilities, given)
    return TopClasses(torch.from_numpy(classes).long(), torch.from_numpy(probabilities).float())


def _texts(paths: Paths, inputs: Inputs, clip: Clip) -> Texts:
    classes = read_table(paths["classes.parquet"])
    table = read_table(paths["description_quality.parquet"], ["class_id", "text", "kept"])
    kept = table[table["kept"]].groupby("class_id")["text"].agg(list)
    names, patterns = classes["display_name"].tolist(), inputs.texts["templates"]
    encode = text_classifier.remembered(clip.encode_texts)
    descriptions = [list(kept.get(row, [])) for row in classes["class_id"]]
    return Texts(names, text_classifier.fill(patterns, names), descriptions, encode, clip.logit_scale, patterns)
