"""Stage `tune`: the teacher's answers -> the students."""

import pandas as pd
import torch
from open_clip.transform import PreprocessCfg

from nola_core import tuning
from nola_core.backbones.clip import Clip, load_clip
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.files import read_table, replacing, sha256_file
from nola_core.inputs import Inputs
from nola_core.methods import storage
from nola_core.methods.method import Lesson, StudentMethod, TextMethod
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Tune every student in force on strong views of all train images."""
    curves = [pd.DataFrame(columns=["method", *tuning.CURVE])]
    with replacing(paths["fitted/students"]) as scratch:
        scratch.mkdir()
        for name, (method, options) in inputs.methods(paths.root, StudentMethod).items():
            place = device()
            clip = load_clip(inputs.clip, root=paths.root, device=place)  # each student changes its own
            weights = clip.image.meta["weights_sha256"]
            lesson = _lesson(paths, inputs, clip)
            key = {
                "method": name,
                "code": inputs.code,
                "options": options.model_dump(),
                "seed": inputs.seed,
                "clip": weights,
                "teacher": sha256_file(paths["teacher.parquet"]),
                "classifier": sha256_file(paths["text_classifier.safetensors"]),
                "device": place.type,
            }
            student, curve = method.tune(
                clip,
                lesson,
                options=options,
                seed=inputs.seed,
                device=place,
                checkpoint=paths.cache / "checkpoints" / paths.dataset / f"{name}-{tuning.checkpoint_key(key)}.pt",
            )
            tensors = student.tensors()
            storage.write(scratch / f"{name}.safetensors", method, tensors, clip_sha256=weights)
            curves.append(curve.assign(method=name))
            count = sum(tensor.numel() for tensor in tensors.values())
            print(f"{name}: {count:,} parameters tuned on {len(lesson.targets):,} images, {len(curve)} epochs")
    if len(curves) == 1:
        print("none of the methods in params.yaml is a student: nothing to tune")
    with replacing(paths["curve.csv"]) as scratch:
        pd.concat(curves[1:] or curves)[["method", *tuning.CURVE]].to_csv(scratch, index=False)


def _lesson(paths: Paths, inputs: Inputs, clip: Clip) -> Lesson:
    """What every student learns from."""
    teacher = read_table(paths["teacher.parquet"], ["image_id", "class_id"])
    text, _ = inputs.method(paths.root, str(inputs.values["text_classifier"]), TextMethod)
    preprocess = PreprocessCfg(**clip.model.visual.preprocess_cfg)
    height, width = (preprocess.size, preprocess.size) if isinstance(preprocess.size, int) else preprocess.size
    images = tuning.Images(
        ids=teacher["image_id"].tolist(),
        open=image_opener(paths.root, paths.dataset),
        size=(height, width),
        mean=preprocess.mean,
        std=preprocess.std,
    )
    return Lesson(
        images=images,
        targets=torch.tensor(teacher["class_id"].to_numpy(dtype="int64")),
        classifier=storage.read_fitted(paths["text_classifier.safetensors"], text).tensors()["weights"],
    )
