"""Modules that the documentation runs with `python -m`, in seconds instead of hours: benchmarks on the fifty digits of the
sandbox, with few draws of everything, and one epoch of training for the demo's models. What they write goes into the sandbox.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

from benchmarks import ablations, accuracy, audit, beds, methods, signals
from demo import train, train_clip, train_ssl
from nola_core.datasets.manifest import LABELS_SCHEMA
from nola_core.files import read_table, write_table
from nola_core.stages.paths import Paths

MODULES = {
    "benchmarks.ablations": ablations.main,
    "benchmarks.accuracy": accuracy.main,
    "benchmarks.audit": audit.main,
    "benchmarks.methods": methods.main,
    "benchmarks.signals": signals.main,
    "demo.train": train.main,
}


def run(words: Sequence[str], home: Path) -> str:
    """Run `python -m` with these words; what it printed.

    Raises:
        AssertionError: the documentation has a module that is not here, or it failed.
    """
    assert words[0] in MODULES, f"python -m {words[0]}: it is not in tests/docs/briefly.py"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        shorten(patch, home)
        assert not MODULES[words[0]](list(words[1:])), printed.getvalue()
    return printed.getvalue()


def shorten(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Set the sizes and the folders of all of them."""
    root, results, models = home / "project", home / "results", home / "models"
    for folder in (results, models):
        folder.mkdir(exist_ok=True)
    judge_digits(root)
    patch.setenv("NOLA_BENCH_DATA", str(home / "nothing"))
    for module in (ablations, accuracy, audit, methods, signals):
        patch.setattr(module, "RESULTS", results)
    for module in (audit, methods, signals):
        patch.setattr(module, "ProcessPoolExecutor", Here)
    patch.setattr(methods, "forget_peak", lambda: None)  # it collects garbage, of which this process has much
    patch.setattr(beds, "CACHE", root)
    patch.setattr(beds, "VARIANTS", ("whole", "tail"))
    patch.setattr(beds, "SEEDS", (0,))
    patch.setattr(audit, "LABELS", (10, 12))
    patch.setattr(audit, "AUDITS", 3)
    patch.setattr(ablations, "SHARES", (0.5, 1.0))
    patch.setattr(train_clip, "PICTURES", 250)
    patch.setattr(train_ssl, "RENDERINGS", 20)
    for module in (train_clip, train_ssl):
        patch.setattr(module, "EPOCHS", 1)
    patch.setattr(train, "FOLDER", models)
    patch.setattr(train, "CLIP_FOLDER", models / "clip")
    patch.setattr(train, "SSL_FOLDER", models / "ssl")


def judge_digits(root: Path) -> None:
    """Give the digits their truth, which the project of the documentation does not have."""
    paths = Paths(root, "digits")
    images = read_table(paths["manifest.parquet"], ["image_id"])
    rows = images["image_id"].str.removesuffix(".png").astype(int)
    write_table(paths["labels.parquet"], images.assign(class_id=load_digits().target[rows]), LABELS_SCHEMA)


class Here:
    """In place of a pool of processes: what is submitted is done at once, by this one."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done
