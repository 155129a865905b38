"""How long commands with little to do take: `python -m benchmarks.speed noop` and `commands`."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMANDS = ("--help", "inspect --help", "add --help", "run --help", "catalog list", "config", "inspect features nobody")
REPEATS = 5


def time_noop(count: int) -> dict[str, Any]:
    """Seconds of `dvc repro` and of `nola run` over `count` finished toy data sets, with a running server and without."""
    from tests.project import change, make_project, make_repository, write_definition

    with tempfile.TemporaryDirectory() as folder:
        root = make_repository(make_project(Path(folder) / "project"))
        environment = {**os.environ, "PYTHONPATH": str(root), "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])  # the stages' `python`
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as in the Makefile, byte code is cached
        environment |= {"PREFECT_HOME": str(root / ".prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

        def timed(*command: str) -> float:
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", *command], cwd=root, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
            return time.perf_counter() - start

        timed("dvc", "repro", "--quiet")
        for number in range(1, count):  # the others are copies, committed as if each had run
            name = f"copy{number}"
            write_definition(root, name, labels="folders")
            shutil.copytree(root / "data" / "blobs", root / "data" / name)
        change(root / "params.yaml", "datasets", value=["blobs", *(f"copy{number}" for number in range(1, count))])
        if count > 1:
            timed("nola_core.stages", "resolve")
            timed("dvc", "commit", "--force", "--quiet")
        timed("dvc", "repro")
        repro = timed("dvc", "repro")
        timed("flows.pipeline")  # publishes new results to the server's database
        alone = timed("flows.pipeline")
        serving = [sys.executable, "-c", "from flows.server import serve; serve(4217)"]
        with subprocess.Popen(serving, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                while not (root / ".prefect" / "server.url").exists():
                    time.sleep(0.5)
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                flow = timed("flows.pipeline")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            finally:
                server.terminate()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = {"dvc_repro_s": repro, "flow_s": flow, "flow_cpu_s": cpu, "flow_without_server_s": alone}
    return {"data_sets": count} | {name: round(value, 1) for name, value in seconds.items()}


def time_commands() -> list[dict[str, Any]]:
    """CPU seconds that each of `COMMANDS` takes in a project."""
    from tests.project import make_project, make_repository

    with tempfile.TemporaryDirectory() as folder:
        root = make_repository(make_project(Path(folder) / "project"))
        return [{"command": f"nola {words}", "cpu_s": round(_processor(words.split(), root), 2)} for words in COMMANDS]


def _processor(words: list[str], root: Path) -> float:
    """Median CPU seconds (user and system) of a `nola` command."""
    seconds = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([str(Path(sys.executable).with_name("nola")), *words], cwd=root, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)
