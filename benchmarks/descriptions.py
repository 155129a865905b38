"""10,000 requests to a language model: throughput, memory, and a cache that pandas can read.

    python -m benchmarks.descriptions --requests 10000

The model is the tests' server in a separate process, so this measures the engine and not a model. Writes
benchmarks/results/descriptions.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml

from nola_core.config import Describe
from nola_core.descriptions import Responses
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.texts.prompts import Question
from nola_core.files import replacing

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "descriptions.md"


def resident() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def sampled(folder: Path, samples: list[tuple[float, int, float]], stop: threading.Event) -> None:
    """Record (seconds, rows on disk, MB) every second until `stop` is set."""
    start = time.monotonic()
    while not stop.wait(1.0):
        journal = folder / "_journal.jsonl"
        rows = len(list(folder.glob("*.parquet"))) * 48 + (journal.read_bytes().count(b"\n") if journal.exists() else 0)
        samples.append((time.monotonic() - start, rows, resident()))


def main() -> int:
    """Run the benchmark and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=16)
    arguments = parser.parse_args()
    settings = Describe.model_validate(
        {**yaml.safe_load((ROOT / "params.yaml").read_text())["describe"], "provider": "llm", "max_cost": 1000.0}
    )
    questions = [
        Question(f"class {n // 10}", f"Prompt {n % 10} about class {n // 10}", "benchmark/1", 1, "sentences")
        for n in range(arguments.requests)
    ]
    command = [sys.executable, "-m", "tests.descriptions.llm_server", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server,
    ):
        try:
            assert server.stdout is not None
            endpoint = Endpoint(base_url=server.stdout.readline().split()[-1], concurrency=arguments.concurrency)
            folder = Path(scratch) / "responses"
            answers.collect(questions[:200], settings, Responses(folder), endpoint=endpoint)  # imports, connections, caches
            samples: list[tuple[float, int, float]] = []
            stop = threading.Event()
            watcher = threading.Thread(target=sampled, args=(folder, samples, stop))
            watcher.start()
            start, processor, before = time.monotonic(), time.process_time(), resident()
            rows = answers.collect(questions, settings, Responses(folder), endpoint=endpoint)
            seconds, processor = time.monotonic() - start, time.process_time() - processor
            stop.set()
            watcher.join()
            start = time.monotonic()
            answers.collect(questions, settings.model_copy(update={"mode": "replay"}), Responses(folder), endpoint=None)
            replayed = time.monotonic() - start
            table = pd.read_parquet(folder)
            megabytes = sum(part.stat().st_size for part in folder.glob("*.parquet")) / 1e6
            parts = len(list(folder.glob("*.parquet")))
        finally:
            server.terminate()
    asked = arguments.requests - 200
    assert len(table) == len(rows) == arguments.requests and table["key"].is_unique
    half = [memory for _, _, memory in samples[len(samples) // 2 :]] or [before]
    quarter = [memory for _, _, memory in samples[len(samples) // 4 : len(samples) // 2]] or [before]
    packages = ", ".join(f"{name} {version(name)}" for name in ("openai", "pandas", "pyarrow"))
    page = f"""# Asking a language model

    python -m benchmarks.descriptions --requests {arguments.requests} --concurrency {arguments.concurrency}

Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}. The model is the
tests' server, which answers at once from a separate process on the same cores, so this measures the engine.

| | |
|---|---|
| requests answered | {asked:,} (after 200 for warming up) |
| throughput | {asked / seconds:,.0f} a second ({seconds:.1f} s wall-clock, {processor:.1f} s CPU time) |
| memory before | {before:.0f} MB |
| peak in the second quarter of the run | {max(quarter):.0f} MB |
| peak in the second half | {max(half):.0f} MB |
| the same requests from the cache (`replay`) | {replayed:.1f} s |
| `pd.read_parquet("responses/")` | {len(table):,} rows, {parts} part(s), {megabytes:.1f} MB |
"""
    with replacing(RESULT) as scratch_file:
        scratch_file.write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
