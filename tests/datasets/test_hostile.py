"""Hostile images in `prepare` and `embed`: no crash, no lost image, and bounded memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.datasets.hostile import MAX_PIXELS, hostile_files, write_odd_paths
from tests.project import change, make_project, run, write_definition

MEASURED = """
import re
from pathlib import Path
import nola_core.stages.prepare
from nola_core.stages.__main__ import main

def megabytes(field):
    return int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

assert main(["resolve", "--root", {root!r}]) == 0
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
before = megabytes("VmRSS")
print(main({words!r}), megabytes("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project whose photos are all hostile, and image id -> pattern of the reason (empty: usable)."""
    root = make_project(tmp_path_factory.mktemp("hostile"))
    photos = root / "hostile"
    photos.mkdir()
    expected = write_odd_paths(photos)
    for name, (data, reason) in hostile_files().items():
        (photos / name).write_bytes(data)
        expected[name] = reason
    change(root / "params.yaml", "prepare", "max_pixels", value=MAX_PIXELS)
    write_definition(root, "blobs", source="hostile")
    return root, expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_every_file_is_a_row_with_its_picture_or_its_reason(project: tuple[Path, dict[str, str]]) -> None:
    root, expected = project
    assert len(expected) >= 40
    code = MEASURED.format(root=str(root), words=["prepare", "--dataset", "blobs", "--root", str(root)])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NOLA_WORKERS": "4"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=120, check=True)
    status, grown = done.stdout.split()[-2:]
    assert status == "0", done.stderr
    assert "Traceback" not in done.stderr
    manifest = pd.read_parquet(root / "data" / "blobs" / "manifest.parquet").set_index("image_id")
    assert sorted(manifest.index) == sorted(expected)
    wrong = {
        name: (manifest.loc[name, "reason"], reason)
        for name, reason in expected.items()
        if manifest.loc[name, "ok"] != (reason == "") or not re.search(reason, str(manifest.loc[name, "reason"]))
    }
    assert wrong == {}
    assert int(grown) < 150, f"prepare took {grown} MB for pictures of at most a megapixel"


def test_what_is_usable_is_embedded(project: tuple[Path, dict[str, str]]) -> None:
    root, expected = project
    assert run(root, "embed ssl") == 0
    stored = pd.concat(pd.read_parquet(path) for path in (root / "data" / "blobs" / "features" / "ssl").glob("*/index.parquet"))
    assert sorted(stored["image_id"]) == sorted(name for name, reason in expected.items() if not reason)
