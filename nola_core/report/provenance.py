"""What somebody needs to make the page again: commands, models with their hashes, seeds, settings, versions of packages."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nola_core.evaluation import SPLITS
from nola_core.report.style import shown
from nola_core.report.tables import Tables

PACKAGES = (
    "nola",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "pillow",
)
"""Packages whose version can change a result."""
WRITTEN_OUT = 10
"""Class names in a command, at most."""
TEMPLATE = "a photo of a {}."
"""Which needs no option."""
VALUE = 300
"""Letters of a setting that are shown."""


def model_rows(tables: Tables) -> list[dict[str, str]]:
    """One row a backbone: model, weights and their hash, transform, size of the features, library versions."""
    purposes = {"clip": "CLIP, image tower", "ssl": "self-supervised"}
    rows = []
    for role, by_split in tables.stores.items():
        meta = next(iter(by_split.values()))
        rows.append(
            {
                "role": purposes.get(role, role),
                "model": shown(meta["model"], VALUE),
                "weights": shown(meta["weights"], VALUE),
                "sha256": shown(meta["weights_sha256"]),
                "transform": plain(meta["transform"]),
                "features": f"{meta['dim']} x {meta['dtype']}; "
                + ", ".join(f"{split} {by_split[split]['count']:,}" for split in SPLITS if split in by_split),
                "versions": plain(meta["versions"]) + (f"; {meta['threads']} threads" if "threads" in meta else ""),
            }
        )
    return rows


def parameter_rows(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, [(key, value)]) of every parameter; those outside any section come first under an empty name."""
    top = [(key, plain(value)) for key, value in settings.items() if not isinstance(value, Mapping)]
    sections = [
        (key, [(name, plain(item)) for name, item in value.items()])
        for key, value in settings.items()
        if isinstance(value, Mapping)
    ]
    return [("", top), *sections] if top else sections


def packages() -> list[tuple[str, str]]:
    """(package, version) of what is installed where the page was written; `python` first."""
    found = [("python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def commands(
    dataset: str, names: Sequence[str], settings: Mapping[str, Any], templates: Sequence[str], *, project: bool
) -> list[str]:
    """The commands that make the result again.

    Args:
        dataset: its name.
        names: class names by class id.
        settings: all parameters.
        templates: sentences with `{}` for the class name.
        project: whether the result stands in a project; otherwise `nola adapt` made it.
    """
    if project:
        return [f"nola run --dataset {shlex.quote(dataset)}"]
    plainly = len(names) <= WRITTEN_OUT and not any("," in name or len(name) > VALUE // WRITTEN_OUT for name in names)
    classes = shlex.quote(",".join(names)) if plainly else "classes.txt"
    backbones = settings.get("embed", {}).get("backbones", "paper")
    pair = backbones if isinstance(backbones, str) else "backbones.yaml"
    words = ["nola adapt IMAGES", f"--classes {classes}", f"--backbones {shlex.quote(pair)}"]
    words += [f"--template {shlex.quote(template)}" for template in templates if list(templates) != [TEMPLATE]]
    return [" ".join([*words, f"-o {shlex.quote(dataset)}"])]


def plain(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return shown(", ".join(f"{key} {plain(item)}" for key, item in value.items()), VALUE)
    if isinstance(value, list | tuple):
        return shown(", ".join(plain(item) for item in value), VALUE)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else shown(value, VALUE)
