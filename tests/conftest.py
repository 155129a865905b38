"""Tests run with this environment's own commands, and with one thread a process: many small ones share the cores."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

LONGEST = "tests/test_pipeline.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: two processes take a file at a time, and neither shall wait for the other at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
