"""The wheel of this checkout, built from a copy: a `build` folder of earlier days would bring its own files along."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT

SOURCES = ("nola_core", "flows", "pyproject.toml", "README.md", "LICENSE")


def copy_sources(folder: Path) -> None:
    """What the wheel is built from, in a new folder."""
    folder.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def build_wheel(folder: Path) -> Path:
    """Build it in a folder that is there, without a network."""
    copy_sources(folder / "source")
    words = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(folder / "source")], check=True)
    shutil.rmtree(folder / "source")
    (built,) = folder.glob("nola-*.whl")
    return built
