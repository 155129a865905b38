"""A home folder with a small finished project, in which the commands and examples of the documentation run.

What makes them quick is here: small photographs, tiny towers in place of published ones, two epochs of tuning instead of fifty.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_digits

from flows.cli import main
from flows.starter import make_project
from nola_core.adaptation import adapt
from nola_core.backbones.pairs import load_pair
from nola_core.durations import record
from nola_core.stages.__main__ import main as run_stage
from tests.datasets.catalog.fixtures import dtd
from tests.project import ORDER, change, write_yaml
from tests.tiny import write_clip, write_photos, write_ssl
from tests.wheel import copy_sources

DIGITS = "zero,one,two,three,four,five,six,seven,eight,nine"
PETS = "cat,dog,guinea pig"
EPOCHS = 2


def build(home: Path, wheel: Path) -> None:
    """Make the home folder: images, a checkout, a wheel, and `project` with the finished data sets `digits` and `pets`."""
    root, images = home / "project", load_digits().images
    for folder, numbers in ((home / "photographs", range(50)), (root / "digits", range(40)), (home / "others", range(50, 54))):
        folder.mkdir(parents=True)
        for number in numbers:
            picture = Image.fromarray((images[number] * 15.9).astype("uint8"))
            picture.save(folder / (f"{number - 50}.png" if folder.name == "others" else f"{number:03d}.png"))
    for number, name in enumerate(PETS.split(",")):
        write_photos(home / "photos" / name, count=80, seed=number)
    for folder in (home / "new-photos", home / "more-photos", root / "photos", root / "scans"):
        write_photos(folder, count=4, seed=9)
    for name in ("scan.png", "new.jpg"):
        Image.open(root / "scans" / "000.png").save(root / name)
    dtd(home / "datasets" / "dtd")
    shutil.copy(wheel, home / wheel.name)
    copy_sources(home / "checkout")
    (home / "checkout" / "requirements.lock").write_text("nola\n")
    write_clip(home / "weights" / "clip")
    write_ssl(home / "weights" / "ssl")
    (root / "FILE.json").write_text(json.dumps({name: [f"the shape of a {name}"] for name in DIGITS.split(",")}))
    make_project(root)
    tune_briefly(root)
    with inside(root):
        template = "a photo of the digit {}."
        quietly("add", "digits", "../photographs", "--classes", DIGITS, "--template", template, "--backbones", "demo")
        quietly("add", "pets", "../photos", "--classes", PETS, "--labels", "folders")
        use_tiny_towers(home, "pets")
        run("resolve")
        for dataset in ("digits", "pets"):
            for stage in ORDER:
                name, *role = stage.split()
                run(name, "--dataset", dataset, *(["--role", *role] if role else []))
            run("evaluate", "--dataset", dataset)
        shutil.copy("data/pets/metrics.json", home / "metrics.json")
        quietly("remove", "pets")
        quietly("add", "pets", "../photos", "--classes", PETS)
        use_tiny_towers(home, "pets")
        run("resolve")
        for stage in ("prepare", "evaluate"):
            run(stage, "--dataset", "pets")
        for dataset in ("digits", "pets"):
            run("report", "--dataset", dataset)
        quietly_call("dvc", "commit", "--force")
        quietly_call("git", "add", ".")
        quietly_call("git", "-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "--message", "a project")
        for dataset in ("digits", "pets"):
            for stage in (*ORDER, "evaluate", "report"):
                record(root, "@".join([stage.split()[0], "-".join([dataset, *stage.split()[1:]])]), 20)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """A context in which this is the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def quietly(*words: str) -> None:
    """`nola` in the working directory."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(words) == 0, said.getvalue()


def quietly_call(*words: str) -> None:
    """A program of this machine in the working directory."""
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


def run(*words: str) -> None:
    """Run a stage in the working directory."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        assert run_stage(list(words)) == 0, said.getvalue()


def tune_briefly(root: Path) -> None:
    change(root / "params.yaml", "nola", "epochs", value=EPOCHS)


def tiny_towers(home: Path) -> dict[str, dict[str, str]]:
    return {role: {"model": f"local-dir:{home / 'weights' / role}"} for role in ("clip", "ssl")}


def tiny_pair(home: Path) -> Path:
    """A file that names them."""
    write_yaml(home / "tiny.yaml", tiny_towers(home))
    return home / "tiny.yaml"


def use_tiny_towers(home: Path, dataset: str) -> None:
    """Define a data set of the project in the working directory with them, not with the pair that was named."""
    change(Path("data") / f"{dataset}.yaml", "backbones", value=tiny_towers(home))


def quick_adapt(images: Any, class_names: Any, *, backbones: str) -> Any:
    """`nola_core.adapt` with tiny towers instead of the pair that is named, and tuning nothing."""
    load_pair(backbones)
    settings = {"methods": ["zero_shot"], "text_classifier": "zero_shot", "final": "zero_shot"}
    return adapt(images, class_names, backbones=tiny_towers(Path.home()), settings=settings, quiet=True)
