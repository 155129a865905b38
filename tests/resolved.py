"""A project whose entries are resolved before and after an edit: of its settings, its files or its code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from nola_core import inputs
from tests.project import ROOT, change, make_project


def make(root: Path) -> Path:
    """The project: its code is a copy, its class names are a file."""
    make_project(root)
    shutil.copytree(ROOT / "nola_core", root / "nola_core", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (root / "names.txt").write_text("cat\ndog\nbird\n")
    (root / "mine.yaml").write_text("version: 1\nprompts: [What is {a} {c}?]\n")
    change(root / "data" / "blobs.yaml", "classes", value="names.txt")
    change(root / "data" / "blobs.yaml", "backbones", "ssl", value="demo")
    return root


def entries(root: Path, *, own: bool = False) -> dict[str, Any]:
    """Stage (`embed clip` with its role) -> entry, resolved by the project's `own` code or, quicker, by this process."""
    if own:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", "nola_core.stages", "resolve"]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        inputs.write(root)
    found = json.loads((root / "data" / "inputs" / "blobs.json").read_text())
    found.pop("texts")
    roles = {f"embed {role}": entry for role, entry in found.pop("embed").items()}
    return {**found, **roles}


def edited(root: Path) -> bool:
    """Whether the code in the project is another than that of this process."""
    files = {path.relative_to(root) for path in (root / "nola_core").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    return any(not (ROOT / file).exists() or (root / file).read_bytes() != (ROOT / file).read_bytes() for file in files)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def code(root: Path, module: str, line: str = "EXTRA = 1") -> None:
    """A new line in a module."""
    replace(root / "nola_core" / module, "from __future__ import annotations\n", f"from __future__ import annotations\n{line}\n")


def new_weights(root: Path) -> None:
    file = root / "demo" / "clip" / "open_clip_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def write_audit(root: Path) -> None:
    folder = root / "data" / "blobs" / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.parquet").write_bytes(b"plan")
    with (folder / "answers.jsonl").open("a") as file:
        file.write("{}\n")


def correct(root: Path, *rows: str) -> None:
    (root / "data" / "blobs.corrections.csv").write_text("\n".join(["what,name,class", *rows]) + "\n")
