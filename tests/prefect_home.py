"""A folder for Prefect whose database has its tables: making them takes longer than anything a test does with them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from nola_core.files import replacing
from tests.project import ROOT

MADE = ROOT / ".nola" / "tests"


def fill(folder: Path, *, name: str = "prefect.db") -> Path:
    """Put such a database into a folder, which is made if need be; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_database(), folder / name)
    return folder


def _database() -> Path:
    """The one that is copied; whichever process comes first makes it."""
    MADE.mkdir(parents=True, exist_ok=True)
    file = MADE / f"prefect-{version('prefect')}.db"
    with (MADE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.is_file():
            with replacing(file) as scratch:
                address = f"sqlite+aiosqlite:///{scratch}"
                environment = {**os.environ, "PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
                command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return file
