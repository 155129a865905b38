"""A complete small project in a folder: tiny backbones, a folder of photos, the real params, stages and DVC file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from nola_core.stages.__main__ import main as run_stage
from tests.tiny import write_clip, write_photos, write_ssl

ROOT = Path(__file__).parent.parent
CLASSES = ("cat", "dog", "bird")
TINY = {"clip": {"model": "local-dir:demo/clip"}, "ssl": {"model": "local-dir:demo/ssl"}}
"""The backbones that `make_project` writes, as a data set names them."""
ORDER = ("prepare", "describe", "embed clip", "embed ssl", "duplicates", "classify", "select", "fit", "tune", "predict")
AFTER_TRUTH = ("evaluate", "report")


def make_project(root: Path, *, photos: int = 24) -> Path:
    """A project with the data set `blobs`: photos in one folder a class, so that there is a truth to be kept apart."""
    write_clip(root / "demo" / "clip")
    write_ssl(root / "demo" / "ssl")
    for number, name in enumerate(CLASSES):
        write_photos(root / "photos" / name, count=photos // len(CLASSES), seed=number)
    rows = [f'{name},"Describe a {name}",a {name} of kind {kind},hand-written,' for name in CLASSES for kind in (1, 2)]
    (root / "demo" / "descriptions.csv").write_text("class,prompt,text,provider,model\n" + "\n".join(rows) + "\n")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = ["blobs"]
    params["methods"] = ["zero_shot", "templates", "cde", "alignment", "nola"]
    params["select"].update(min_per_class=2)
    params["alignment"].update(epochs=3, hidden=8)
    params["nola"].update(epochs=3, batch_size=8, prompt_tokens=2)
    write_yaml(root / "params.yaml", params)
    write_definition(root, "blobs", labels="folders")
    return root


def write_definition(
    root: Path, dataset: str, *, source: str = "photos", descriptions: str | None = "demo/descriptions.csv", **images: Any
) -> None:
    """`data/<dataset>.yaml` for a folder of photos."""
    definition = {
        "source": source,
        "descriptions": descriptions,
        "images": {"reader": "folder", "holdout": 0.25, "labels": "none"} | images,
        "classes": list(CLASSES),
        "templates": ["a photo of a {}.", "a drawing of a {}."],
        "backbones": TINY,
    }
    write_yaml(root / "data" / f"{dataset}.yaml", definition)


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def change(path: Path, *keys: str, value: Any) -> None:
    """Set one key of a YAML file."""
    values = yaml.safe_load(path.read_text())
    inner = values
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    write_yaml(path, values)


def run(root: Path, stage: str, *, dataset: str = "blobs") -> int:
    """`resolve` and one stage in this process; `embed clip` stands for embed with its role."""
    name, _, role = stage.partition(" ")
    resolved = run_stage(["resolve", "--root", str(root)])
    return resolved or run_stage([name, "--dataset", dataset, "--root", str(root), *(["--role", role] if role else [])])


def make_repository(root: Path) -> Path:
    """Add the code, the real dvc.yaml, git and DVC to a project."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("nola_core", "flows"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    (root / "data").mkdir(exist_ok=True)
    for name in ("dvc.yaml", "data/dvc.yaml", "data/.gitignore", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root
