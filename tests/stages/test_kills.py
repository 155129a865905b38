"""Stages killed at random moments, one kill after another: the next run writes the very files of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stages.children import Stages

KILLS = 3
OUTPUTS = {
    "select": ["pseudo_labels.parquet"],
    "fit": ["fitted/features", "teacher.parquet"],
    "predict": [
        "predictions.parquet",
        "label_free.json",
        "unknown.parquet",
        "unknown_groups.parquet",
        "class_proportions.parquet",
        "model",
    ],
    "evaluate": ["metrics.json", "per_class.csv", "plots"],
    "report": ["report.html", "figures"],
}


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the data set, hidden ones too."""
    folder = root / "data" / "blobs"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_kills_of_a_stage_change_no_byte_of_what_it_writes(stages: Stages, complete: Path, tmp_path: Path, stage: str) -> None:
    root, draw = tmp_path / "p", random.Random(stage)
    shutil.copytree(complete, root)
    undisturbed = contents(root)
    duration = undisturbed_run(stages, root, stage)
    assert contents(root) == undisturbed, "two undisturbed runs differ"
    killed = 0
    for number in range(KILLS):
        if number % 2:  # as DVC does before it runs a stage; in the other runs the outputs are replaced
            for name in OUTPUTS[stage]:
                path = root / "data" / "blobs" / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        process = stages.start(root, stage)
        time.sleep(duration * draw.random())
        with suppress(ProcessLookupError):  # it may be faster than the last one was
            os.kill(process, signal.SIGKILL)
        killed += stages.end()[0] == -signal.SIGKILL
        duration = undisturbed_run(stages, root, stage)
        assert contents(root) == undisturbed
    assert killed, "no run was killed before its end"


def undisturbed_run(stages: Stages, root: Path, stage: str) -> float:
    """Its seconds."""
    start = time.monotonic()
    status, said = stages.run(root, stage)
    assert status == 0, said
    return time.monotonic() - start
