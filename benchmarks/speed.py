"""Speed, as the ratio of two measurements in one run on one machine.

    python -m benchmarks.speed extraction   # images per second of `embed` compared with the bare forward pass
    python -m benchmarks.speed tuning       # an epoch with stored teacher predictions against one that runs DINO at every step
    python -m benchmarks.speed memory       # a forward pass with and without the C library keeping memory (CPU)
    python -m benchmarks.speed noop         # `dvc repro` and the flow over 1, 4 and 14 finished data sets: nothing to do
    python -m benchmarks.speed commands     # CPU time of `nola --help` and similar commands, which must not load heavy libraries
    python -m benchmarks.speed report       # write benchmarks/results/speed.md from all measurements

Each writes benchmarks/results/speed-<what>-<device>.csv and the page. The models are ViT-B/32, ViT-B/16 and DINO ViT-B/16 with
random weights: speed does not depend on the weights, and nothing has to be downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import open_clip
import pandas as pd
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from benchmarks.accuracy import RESULTS
from benchmarks.starts import time_commands, time_noop
from nola_core import alignment
from nola_core.backbones.clip import Clip
from nola_core.backbones.encoder import ImageEncoder
from nola_core.datasets.image import decode
from nola_core.device import autocast, device, keep_memory, workers
from nola_core.extraction import extract
from nola_core.files import replacing, sha256_file
from nola_core.methods.nola import Options
from nola_core.schema import Precision
from nola_core.students import loop
from nola_core.students.images import Images
from nola_core.students.objective import HardTargets
from nola_core.students.student import TunedStudent

DINO = "vit_base_patch16_224.dino"
CLASSES = 100


def synchronize(place: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def write_photos(folder: Path, count: int) -> list[Path]:
    """JPEGs of 500 x 375 pixels, smooth with some noise, so that the files are as large as photographs of that size."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 13, (375, 500, 1)), 0, 255)
        paths.append(folder / f"{number:05d}.jpg")
        Image.fromarray(noisy.astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def random_clip(name: str, place: torch.device) -> Clip:
    """An open_clip model of this architecture with random weights, in the form that `load_clip` returns."""
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None, precision="fp32").eval().requires_grad_(False).to(place)
    preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
    meta = {"model": name, "weights": "random", "weights_sha256": "0" * 64, "transform": str(preprocess)}
    image = ImageEncoder(model.visual, image_transform_v2(preprocess, is_train=False), model.visual.output_dim, meta)
    return Clip(image, model, open_clip.get_tokenizer(name), 100.0, 77)


def time_extraction(
    model: str, images: int, place: torch.device, *, precision: Precision = "float32", batch_size: int = 64
) -> dict[str, Any]:
    """Images per second of the bare forward pass on tensors in memory, of the whole `embed`, and of each of its parts."""
    clip = random_clip(model, place)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = {path.name: path for path in write_photos(root / "photos", images)}
        manifest = pd.DataFrame({"image_id": list(paths), "split": "train", "ok": True})
        manifest["sha256"] = [sha256_file(path) for path in paths.values()]

        seconds = {}
        start = time.perf_counter()
        data = [path.read_bytes() for path in paths.values()]
        seconds["read"] = time.perf_counter() - start
        start = time.perf_counter()
        pictures = [decode(item) for item in data]
        seconds["decode"] = time.perf_counter() - start
        start = time.perf_counter()
        tensors = [clip.image.preprocess(picture) for picture in pictures]
        seconds["transform"] = time.perf_counter() - start
        batches = [torch.stack(tensors[at : at + batch_size]) for at in range(0, images, batch_size)]

        def forward() -> tuple[list[Tensor], float]:
            start = time.perf_counter()
            with torch.inference_mode(), autocast(place, precision):
                features = [clip.image.module(batch.to(place)).float().cpu() for batch in batches]
            return features, time.perf_counter() - start

        with torch.inference_mode(), autocast(place, precision):
            clip.image.module(batches[0].to(place))  # the first call selects kernels
        synchronize(place)
        features, before = forward()
        start = time.perf_counter()
        np.save(root / "features.npy", torch.cat(features).half().numpy())
        seconds["write"] = time.perf_counter() - start
        del data, pictures, tensors

        start = time.perf_counter()
        extract(
            clip.image,
            manifest,
            lambda image_id: decode(paths[image_id].read_bytes()),
            role="clip",
            out=root / "store",
            cache=root / "cache",
            device=place,
            code="",
            batch_size=batch_size,
            precision=precision,
        )
        whole = time.perf_counter() - start
        seconds["forward"] = (before + forward()[1]) / 2  # before and after, because the speed of the machine may change
    rates = {f"{part}_ms": round(1000 * value / images, 3) for part, value in seconds.items()}
    bare = images / seconds["forward"]
    return {
        "model": model,
        "precision": precision,
        "images": images,
        "forward_images_per_s": round(bare, 1),
        "embed_images_per_s": round(images / whole, 1),
        "ratio": round(images / whole / bare, 3),
        **rates,
    }


class AskedTeacher:
    """Replaces the stored predictions: computes them again with DINO and head for every batch."""

    def __init__(
        self, module: torch.nn.Module, head: alignment.AlignmentHead, views: Tensor, place: torch.device, precision: Precision
    ) -> None:
        self.module, self.head, self.views, self.place, self.precision = module, head, views, place, precision

    def __len__(self) -> int:
        return len(self.views)

    def to(self, place: torch.device) -> AskedTeacher:
        """Itself: it is already on the device."""
        return self

    def __getitem__(self, rows: Tensor) -> Tensor:
        with torch.inference_mode():
            with autocast(self.place, self.precision):
                features = self.module(self.views[rows.cpu()].to(self.place)).float()
            answers = self.head.predict({"ssl": torch.nn.functional.normalize(features, dim=1)}).argmax(dim=1)
        return answers.clone()


def time_tuning(
    model: str, images: int, place: torch.device, *, batch_size: int, precision: Precision = "float32"
) -> dict[str, Any]:
    """Seconds of one epoch both ways, with the same batches and targets; the students must be equal."""
    clip = random_clip(model, place)
    torch.manual_seed(0)
    dino: Any = timm.create_model(DINO, pretrained=False, num_classes=0).eval().requires_grad_(False).to(place)
    weak = create_transform(**resolve_model_data_config(dino), is_training=False)
    head = alignment.AlignmentHead(dino.num_features, 256, CLASSES).eval().requires_grad_(False).to(place)
    options = Options(
        prompt_tokens=16,
        prompt_frame=0.0,
        epochs=1,
        batch_size=batch_size,
        learning_rate=0.004,
        weight_decay=0.01,
        label_smoothing=0.1,
        precision=precision,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = {path.name: path for path in write_photos(Path(folder) / "photos", images)}
        pictures = {name: decode(path.read_bytes()) for name, path in paths.items()}
        views = torch.stack([weak(picture) for picture in pictures.values()])
        asked = AskedTeacher(dino, head, views, place, precision)
        order = torch.randperm(images, generator=torch.Generator().manual_seed(100_003 + 1))  # the batches of the epoch
        stored = torch.empty(images, dtype=torch.int64)
        for rows in order.split(batch_size):
            stored[rows] = asked[rows].cpu()
        preprocess = PreprocessCfg(**clip.model.visual.preprocess_cfg)
        size = preprocess.size if isinstance(preprocess.size, tuple | list) else (preprocess.size, preprocess.size)
        source = Images(list(pictures), pictures.__getitem__, (size[0], size[1]), preprocess.mean, preprocess.std)
        classifier = torch.nn.functional.normalize(torch.randn(CLASSES, clip.image.dim), dim=1).to(place)
        state = {name: tensor.clone() for name, tensor in clip.image.module.state_dict().items()}
        seconds, results = {}, {}
        teachers: dict[str, Any] = {"warm up": stored, "stored": stored, "asked": asked}
        for name, teacher in teachers.items():
            clip.image.module.load_state_dict(state)
            student = TunedStudent.make(clip, classifier, options=options, seed=0)
            synchronize(place)
            start = time.perf_counter()
            objective = HardTargets(teacher, smoothing=options.label_smoothing)
            loop.tune(student, source, objective, targets=stored, options=options, section="nola", seed=1, device=place)
            synchronize(place)
            seconds[name] = time.perf_counter() - start
            results[name] = {key: value.detach().cpu().clone() for key, value in student.trained().items()}
    equal = all(torch.equal(results["stored"][key], results["asked"][key]) for key in results["stored"])
    far = max(float((results["stored"][key] - results["asked"][key]).abs().max()) for key in results["stored"])
    return {
        "model": model,
        "precision": precision,
        "images": images,
        "batch": batch_size,
        "stored_s": round(seconds["stored"], 2),
        "asked_s": round(seconds["asked"], 2),
        "ratio": round(seconds["asked"] / seconds["stored"], 2),
        "students_equal": equal,
        "largest_difference": far,
    }


FORWARD = """
import json, resource, sys, time
import torch
from benchmarks.speed import forward_module
from nola_core.device import keep_memory
name, images, kept = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "kept"
if kept:
    keep_memory()
module, size = forward_module(name)
batch = torch.rand(128, 3, size, size)
with torch.inference_mode():
    module(batch)
    used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(images // 128):
        module(batch)
    seconds, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([seconds, now.ru_stime - used.ru_stime, now.ru_minflt - used.ru_minflt, now.ru_maxrss / 1024]))
"""


def forward_module(name: str) -> tuple[torch.nn.Module, int]:
    """An image tower with random weights and its image size; `offline` is the convolutional tower of that pair."""
    if name == "offline":
        return timm.create_model("tf_efficientnet_lite2").eval().to(memory_format=torch.channels_last), 160
    return random_clip(name, torch.device("cpu")).image.module, 224


def time_memory(model: str, images: int) -> dict[str, Any]:
    """Seconds of forward passes on the CPU, each way in its own process, and the system time among them."""
    row: dict[str, Any] = {"model": model, "images": images}
    for way in ("returned", "kept"):
        words = [sys.executable, "-c", FORWARD, model, str(images), way]
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
        seconds, system, faults, peak = json.loads(done.stdout)
        row |= {f"{way}_s": round(seconds, 2), f"{way}_system_s": round(system, 2), f"{way}_page_faults": faults}
        row[f"{way}_peak_mb"] = round(peak)
    return {**row, "ratio": round(row["returned_s"] / row["kept_s"], 2)}


def describe_machine(place: torch.device) -> str:
    """Cores, accelerator and versions."""
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "open_clip_torch", "timm", "dvc", "prefect"))
    return f"{name}; {os.cpu_count()} cores, {workers()} loader threads; Python {platform.python_version()}, {packages}"


HEADINGS = {
    "extraction": (
        "Extraction: `embed` compared with the bare forward pass",
        "The ratio divides the images per second of the whole stage (read, decode, transform, forward, write, cache) by those of "
        "the forward pass on tensors already in memory, which is timed before and after. The columns in ms give the time per "
        "image "
        "of each part on one thread (forward: all threads). Goal: 0.8 on two CPU cores, 0.9 on a GPU.",
    ),
    "tuning": (
        "Tuning: stored teacher against asking DINO at every step",
        "One epoch of step 3, same batches and targets. `stored` reads the teacher's answer from the table that `fit` wrote; "
        "`asked` runs DINO ViT-B/16 and the head on the weak view of every batch, as the published code does. Goal: 2. "
        "The ratio can be no more than 1 + the cost of DINO's pass over that of the student's step; with a ViT-B/16 as the "
        "student that step, forward and backward, costs more than twice DINO's pass, so 2 is out of reach there.",
    ),
    "memory": (
        "Memory kept by the C library",
        "Forward passes of 128 images at a time on a CPU. `returned`: Python's default. Large blocks go back to the system when "
        "torch frees them, and the next block costs a page fault for every 4 KB. `kept`: the setting of the stages, after "
        "`nola_core.device.keep_memory()`. The ratio is `returned_s` / `kept_s`. It varies with the state of the machine's "
        "memory "
        "(1.5 to 1.9 for `offline` in other runs, measured in CPU seconds).",
    ),
    "noop": (
        "Nothing to do",
        "Seconds of `dvc repro` (the second of two runs, with byte code on disk) and of a flow over finished data sets, "
        "including the "
        "start of Python. Goals: 3 s and 10 s. Several runs of `dvc repro` over 14 data sets took 2.8 to 3.0 s. `flow_s` is "
        "measured "
        "with `nola server` running and `flow_cpu_s` is the CPU time of that flow. Without a server the flow starts its own.",
    ),
    "commands": (
        "Commands that only print",
        "CPU seconds (user and system), including the start of Python: the median of five runs. Goal for help: 0.5 s.",
    ),
}


def write_page(folder: Path) -> None:
    """speed.md: every speed-*.csv with its machine."""
    lines = [
        "# Speed",
        "",
        "Each table compares measurements from one run of `python -m benchmarks.speed extraction`, `tuning`, `memory`, `noop`",
        "or `commands`.",
        "",
    ]
    for what, (title, text) in HEADINGS.items():
        lines += [f"## {title}", "", text, ""]
        for path in sorted(folder.glob(f"speed-{what}-*.csv")):
            table = pd.read_csv(path, comment="#")
            lines += [path.read_text().splitlines()[0].removeprefix("# ") + ".", ""]
            lines += ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
            lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)]
            lines.append("")
    if not list(folder.glob("speed-*-cuda*.csv")):
        lines += ["None of this has been measured on a GPU yet; run the same commands on a machine that has one.", ""]
    with replacing(folder / "speed.md") as scratch:
        scratch.write_text("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """Take one measurement, print its table and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=(*HEADINGS, "report"))
    parser.add_argument("--model", action="append", help="open_clip architecture; default: ViT-B-32 and ViT-B-16")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="tuning: images per step")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32", help="extraction and tuning")
    parser.add_argument("--datasets", type=int, nargs="+", default=[1, 4, 14], help="noop: numbers of data sets")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    place = device()
    keep_memory()
    models = arguments.model or ["ViT-B-32", "ViT-B-16"]
    if arguments.what != "report":
        if arguments.what == "extraction":
            rows = [time_extraction(model, arguments.images, place, precision=arguments.precision) for model in models]
        elif arguments.what == "tuning":
            options = {"batch_size": arguments.batch, "precision": arguments.precision}
            rows = [time_tuning(model, arguments.images, place, **options) for model in models]
        elif arguments.what == "memory":
            rows = [time_memory(model, arguments.images) for model in arguments.model or ["offline", "ViT-B-32"]]
        elif arguments.what == "commands":
            rows = time_commands()
        else:
            rows = [time_noop(count) for count in arguments.datasets]
        table = pd.DataFrame(rows)
        print(table.to_string(index=False))
        arguments.results.mkdir(parents=True, exist_ok=True)
        suffix = "-bfloat16" if arguments.precision == "bfloat16" and arguments.what in ("extraction", "tuning") else ""
        with replacing(arguments.results / f"speed-{arguments.what}-{place.type}{suffix}.csv") as scratch:
            scratch.write_text(f"# {describe_machine(place)}\n" + table.to_csv(index=False))
    write_page(arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
