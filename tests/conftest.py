"""Tests run with this environment's own commands, and with one thread a process: many small ones share the cores.

They share one Prefect server a process.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Set before Prefect is imported: tests must not write to the user's or the project's own server.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="nola-prefect-")
os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.pop("PREFECT_API_URL", None)

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

UNITS = (
    ("tests/flows/test_wheel.py",),
    ("tests/docs/test_commands.py",),
    ("tests/test_pipeline.py",),
    ("tests/flows/test_", "tests/flows/commands/test_run.py"),  # which share a Prefect server
    ("tests/stages/",),  # which share a finished project
)
"""Beginnings of the names of tests that one process runs one after the other, the longest units first; any other file is one."""


def unit(nodeid: str) -> str:
    return next((found[0] for found in UNITS if nodeid.startswith(found)), nodeid.split("::")[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest units first: no process shall wait for the other at the end."""
    order = [found[0] for found in UNITS]
    items.sort(key=lambda item: order.index(found) if (found := unit(item.nodeid)) in order else len(order))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The API address of a real Prefect server with its own database."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing import utilities

    from tests import prefect_home

    with pytest.MonkeyPatch.context() as patch:
        made = prefect_home.fill(Path(tempfile.mkdtemp(prefix="nola-prefect-")), name="prefect-test.db")
        patch.setattr(utilities, "mkdtemp", lambda: str(made))  # where the harness has its database
        with utilities.prefect_test_harness(server_startup_timeout=120):
            yield PREFECT_API_URL.value()
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)
