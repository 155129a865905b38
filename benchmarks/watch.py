"""Time and memory of a process, read from the kernel when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The kernel counts the parent's peak memory at the start as the child's. This process has imported torch, so it starts a small
# process, which starts the command and writes [seconds, CPU seconds, largest resident memory].
WATCH = """
import json, os, sys, time
start = time.monotonic()
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
with open(sys.argv[1], "w") as out:
    json.dump([time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss], out)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclass(frozen=True)
class Needed:
    """Wall and CPU seconds, the largest resident memory in MB, and the machine's load average at the end."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    load: float


def watch(words: Sequence[str], *, root: Path) -> Needed:
    """Run `python WORDS` in the project `root` and wait for it.

    Raises:
        SystemExit: the command failed.
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NOLA_CACHE": str(root / ".nola")}
    with tempfile.TemporaryDirectory() as folder:
        needed = Path(folder) / "needed.json"
        watched = [sys.executable, "-I", "-S", "-c", WATCH, str(needed), sys.executable, *words]
        ended = subprocess.run(watched, env=environ, cwd=root, check=False).returncode
        if ended:
            raise SystemExit(f"{' '.join(words)} ended with status {ended}")
        seconds, cpu, largest = json.loads(needed.read_text())
    peak = largest / (2**20 if sys.platform == "darwin" else 2**10)
    return Needed(round(seconds, 1), round(cpu, 1), round(peak), round(os.getloadavg()[0], 1))
