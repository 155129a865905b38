"""Measure two choices for large collections: the threads of the alignment head, and the index for near duplicates.

    python -m benchmarks.scale_choices

Writes benchmarks/results/scale-choices.md. CPU seconds are given next to wall-clock seconds because the machine is shared.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from benchmarks.accuracy import RESULTS
from benchmarks.made import DATASET, make
from nola_core import alignment, neighbors
from nola_core.features import FeatureStore
from nola_core.files import digest, replacing
from nola_core.methods.alignment import Options
from nola_core.neighbors import Gallery, near_duplicates

OPTIONS: dict[str, Any] = {"neighbors": 5, "similarity": 0.98, "closeness": 0.25}


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result of the call, wall-clock seconds, CPU seconds."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, round(time.perf_counter() - clock, 1), round(time.process_time() - cpu, 1)


def head_threads(epochs: int = 5) -> pd.DataFrame:
    """The alignment head on 1,600 x 1,280 features of 10 classes, with one thread and with two."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(1600) % 10
    features = normalize(
        torch.randn(10, 1280, generator=generator)[targets] + torch.randn(1600, 1280, generator=generator), dim=1
    )
    options = Options(hidden=256, epochs=epochs, batch_size=32, learning_rate=0.001)
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with patch.object(alignment, "one_thread", nullcontext):
            head, clock, cpu = timed(lambda: alignment.train(features, targets, classes=10, options=options, seed=0))
        rows.append([threads, epochs, clock, cpu, digest([part.tolist() for part in head.parameters()])[:12]])
    torch.set_num_threads(1)
    return pd.DataFrame(rows, columns=["threads", "epochs", "seconds", "cpu_seconds", "weights"])


def hierarchy(links: int) -> Callable[[Gallery], tuple[Any, Any]]:
    """A function that builds FAISS's HNSW over the principal components instead of the inverted file."""

    def build(gallery: Gallery) -> tuple[Any, Any]:
        components = faiss.PCAMatrix(gallery.dim, neighbors.COMPONENTS)
        components.train(next(block for _, block in gallery.blocks()))
        index = faiss.IndexHNSWFlat(neighbors.COMPONENTS, links)
        index.hnsw.efSearch = 32
        for _, block in gallery.blocks():
            index.add(components.apply(block))
        return components, index

    return build


def indexes(gallery: Gallery, manifest: pd.DataFrame, ids: pd.Series[str]) -> pd.DataFrame:
    """Exact search, the inverted file with more and fewer probes, and HNSW on the same images."""
    exact, clock, cpu = timed(lambda: near_duplicates(manifest, ids, gallery, **OPTIONS, exact_images=len(gallery)))
    wanted = pairs(exact[0])
    rows = [["exact", len(wanted), len(wanted), clock, cpu]]
    plain, probes = neighbors.inverted_file, neighbors.PROBES
    for name, build, looked in [
        ("inverted file, 4 lists", plain, 4),
        ("inverted file, 8 lists", plain, 8),
        ("inverted file, 16 lists", plain, 16),
        ("HNSW, 16 links", hierarchy(16), probes),
        ("HNSW, 32 links", hierarchy(32), probes),
    ]:
        with patch.object(neighbors, "inverted_file", build), patch.object(neighbors, "PROBES", looked):
            found, clock, cpu = timed(lambda: near_duplicates(manifest, ids, gallery, **OPTIONS, exact_images=0))
        rows.append([name, len(pairs(found[0]) & wanted), len(wanted), clock, cpu])
    return pd.DataFrame(rows, columns=["search", "pairs found", "pairs", "seconds", "cpu_seconds"])


def pairs(table: pd.DataFrame) -> set[tuple[str, str]]:
    """The pairs whose files differ."""
    near = table[~table["exact"]]
    return set(zip(near["image_id"], near["other_id"], strict=True))


def markdown(table: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return lines + ["| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)]


def main(argv: list[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_choices", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    threads, load = head_threads(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), arguments.images, 1000)
        data = Path(folder) / "data" / DATASET
        stores = [FeatureStore.open(data / "features" / "ssl" / split) for split in ("test", "train")]
        manifest = pd.read_parquet(data / "manifest.parquet", columns=["image_id", "split", "sha256"])
        ids = pd.concat([store.index["image_id"] for store in stores], ignore_index=True)
        searches = indexes(Gallery([np.asarray(store.features) for store in stores]), manifest, ids)
    lines = [
        "# Choices for large collections",
        "",
        "    OMP_NUM_THREADS=1 python -m benchmarks.scale_choices",
        "",
        f"## The alignment head: one thread (load average {load:.1f} on {os.cpu_count()} cores)",
        "",
        "1,600 x 1,280 features, 10 classes. `weights` is a digest of the trained weights: a different number of threads gives",
        "different bits.",
        "",
        *markdown(threads),
        "",
        f"## Near duplicates: an inverted file ({arguments.images:,} synthetic images, SSL features 768 wide)",
        "",
        "Only pairs of different files count. The time of the approximate searches includes the exact search for 2,000 sampled",
        "images.",
        "",
        *markdown(searches),
        "",
    ]
    with replacing(arguments.results / "scale-choices.md") as scratch:
        scratch.write_text("\n".join(lines))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
