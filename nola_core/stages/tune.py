"""Stage `tune`: the teacher's answers -> prompts, norm layers and classifier of the student."""

import torch
from open_clip.transform import PreprocessCfg
from safetensors.torch import load_file

from nola_core import tuning
from nola_core.backbones.clip import load_clip
from nola_core.config import Tune
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.files import read_table, replacing, sha256_file
from nola_core.inputs import Inputs
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Tune the student for a fixed number of epochs on strong views of every train image."""
    options = inputs.options(Tune)
    place = device()
    clip = load_clip(inputs.clip, root=paths.root, device=place)
    teacher = read_table(paths["teacher.parquet"])
    classifier = load_file(paths["text_classifier.safetensors"])["cde"]
    student = tuning.Student(
        clip,
        classifier,
        prompt_tokens=options.prompt_tokens,
        prompt_frame=options.prompt_frame,
        seed=inputs.seed,
        precision=options.precision,
    )
    preprocess = PreprocessCfg(**clip.model.visual.preprocess_cfg)
    height, width = (preprocess.size, preprocess.size) if isinstance(preprocess.size, int) else preprocess.size
    images = tuning.Images(
        ids=teacher["image_id"].tolist(),
        open=image_opener(paths.root, paths.dataset),
        size=(height, width),
        mean=preprocess.mean,
        std=preprocess.std,
    )
    key = {
        "code": inputs.code,
        "options": options.model_dump(),
        "seed": inputs.seed,
        "clip": clip.image.meta["weights_sha256"],
        "teacher": sha256_file(paths["teacher.parquet"]),
        "classifier": sha256_file(paths["text_classifier.safetensors"]),
        "device": place.type,
    }
    curve = tuning.tune(
        student,
        images,
        torch.from_numpy(teacher["class_id"].to_numpy(dtype="int64")),
        options=options,
        seed=inputs.seed,
        device=place,
        checkpoint=paths.cache / "checkpoints" / paths.dataset / f"tune-{tuning.checkpoint_key(key)}.pt",
    )
    student.save(paths["student.safetensors"], weights_sha256=clip.image.meta["weights_sha256"])
    with replacing(paths["curve.csv"]) as scratch:
        curve.to_csv(scratch, index=False)
    trained = sum(parameter.numel() for parameter in student.trained().values())
    print(f"{trained:,} parameters tuned on {len(teacher):,} images, {options.epochs} epochs")
