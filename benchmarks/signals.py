"""Label-free signals held against the measured accuracy: benchmarks/results/signals-protocol.md.

    python -m benchmarks.beds       # once: embed digits and the photographs
    python -m benchmarks.signals    # every signal x method x draw; about ten minutes on two cores
    python -m benchmarks.signals --page    # run nothing; write the page again

One row a method and draw is appended to results/signals-cells.csv, and not computed again. signals.csv and .png and the tables of
signals.md come from the cells. Methods and signals see no label.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from benchmarks import beds, estimates, signals_page
from nola_core.algebra import proportions
from nola_core.methods import registry
from nola_core.methods.collection import probabilities
from nola_core.methods.method import FeatureMethod, TextMethod
from nola_core.trust import signals

RESULTS = Path(__file__).parent / "results"
METHODS = (
    "zero_shot",
    "templates",
    "cde",
    "alignment",
    "evidence",
    "gda_em",
    "ot_fusion",
    "transclip",
    "label_propagation",
    "caps_adapter",
)
TEXT = "templates"
SEEDS = (0,)
MOST = 500
"""Images that signals with N x N memory or with training look at."""
KEY = ["dataset", "variant", "seed"]


def asked(draw: beds.Draw, name: str, *, seed: int) -> dict[str, Tensor]:
    """Probabilities of a method for the images of both splits, float32 [N, C]."""
    method = registry.find(name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if isinstance(method, TextMethod):
            fitted = method.fit(draw.bed.texts, options=method.section())
        else:
            assert isinstance(method, FeatureMethod)
            fitted = method.fit(draw.collection, options=method.section(), seed=seed)
    return {split: probabilities(fitted, draw.features(split)) for split in ("train", "test")}


def measured(
    p: Mapping[str, Tensor], features: Mapping[str, Mapping[str, Tensor]], *, text: Tensor, pi: Tensor, voted: Tensor
) -> dict[str, float]:
    """The signals of one method.

    Args:
        p: split -> its probabilities.
        features: split -> space -> features.
        text: the text classifier's answers for the test images, int64 [N].
        pi: class proportions by its posterior.
        voted: the methods' vote.
    """
    test, answers = p["test"], p["test"].argmax(dim=1)
    classes, mine = test.shape[1], features["test"]
    own = proportions.estimated(test)
    return {
        "confidence": estimates.mean_confidence(test),
        "nuclear_norm": estimates.nuclear_norm(test),
        "answer_nuclear_norm": estimates.answer_nuclear_norm(answers, classes),
        "prediction_entropy": estimates.mean_prediction_entropy(test),
        "infomax": estimates.infomax(test),
        "snd": estimates.neighborhood_density(test[:MOST]),
        "mano": estimates.mano(test),
        "cot": estimates.transport_accuracy(test[:MOST], pi),
        "cot_own": estimates.transport_accuracy(test[:MOST], own),
        "zero_shot_agreement": estimates.agreement(answers, text),
        "vote_agreement": estimates.agreement(answers, voted),
        **{
            f"neighbors_{name}": signals.Neighborhood(mine[name].numpy()).consistency(answers.numpy()) for name in ("clip", "ssl")
        },
        **{f"learnable_{name}": estimates.learnability(mine[name][:MOST], answers[:MOST], classes) for name in ("clip", "ssl")},
        "head_agreement": estimates.head_agreement(
            features["train"]["ssl"][:MOST], p["train"].argmax(dim=1)[:MOST], mine["ssl"][:MOST], classes
        ),
    }


def cells(draw: beds.Draw) -> list[dict[str, Any]]:
    """One row a method."""
    names = [name for name in METHODS if name != "cde" or any(draw.bed.texts.descriptions)]
    rng = np.random.default_rng(draw.seed)  # shuffled images, the first MOST of which are a sample
    order = {"train": rng.permutation(len(draw.train.labels)), "test": rng.permutation(len(draw.test.labels))}
    features = {split: {name: rows[some] for name, rows in draw.features(split).items()} for split, some in order.items()}
    labels = draw.test.labels[order["test"]]
    p = {name: {split: rows[order[split]] for split, rows in asked(draw, name, seed=draw.seed).items()} for name in names}
    answers = {name: one["test"].argmax(dim=1) for name, one in p.items()}
    pi = proportions.estimated(p[TEXT]["test"])
    voted = estimates.vote(list(answers.values()), p[TEXT]["test"].shape[1])
    rows = []
    for name in names:
        row = {"dataset": draw.bed.name, "variant": draw.variant, "seed": draw.seed, "method": name}
        row["top1"] = float(np.mean(answers[name].numpy() == labels))
        row |= measured(p[name], features, text=answers[TEXT], pi=pi, voted=voted)
        if name == "alignment":
            again = asked(draw, name, seed=draw.seed + 1000)["test"][order["test"]].argmax(dim=1)
            row["gde"] = estimates.agreement(answers[name], again)
        rows.append(row)
    return rows


def task(name: str, variants: Sequence[str], file: Path) -> None:
    """The draws of a bed that are not in `file` yet."""
    done = set(read(file)[KEY].itertuples(index=False, name=None)) if file.is_file() else set()
    wanted = [(variant, seed) for variant in variants for seed in SEEDS if (name, variant, seed) not in done]
    bed = beds.load(name) if wanted else None
    for variant, seed in wanted:
        assert bed is not None
        table = pd.DataFrame(cells(bed.draw(variant, seed)), columns=[*KEY, "method", "top1", *signals_page.SIGNALS])
        with file.open("a") as out:  # one write a draw: several processes append to one file
            out.write(table.to_csv(index=False, header=False, float_format="%.5f"))


def read(file: Path) -> pd.DataFrame:
    """The cells of a file."""
    return pd.read_csv(file)


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, then write tables, page and picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=__doc__.splitlines()[0])
    parser.add_argument("--beds", nargs="+", choices=beds.BEDS, default=list(beds.BEDS))
    parser.add_argument("--variants", nargs="+", choices=beds.VARIANTS, default=list(beds.VARIANTS))
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="run nothing")
    arguments = parser.parse_args(argv)
    file = arguments.results / "signals-cells.csv"
    if not arguments.page:
        if not file.is_file():
            file.write_text(",".join([*KEY, "method", "top1", *signals_page.SIGNALS]) + "\n")
        os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
        with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = [
                pool.submit(task, bed, [variant], file)
                for bed in beds.available(arguments.beds)
                for variant in arguments.variants
            ]
            for one in running:
                one.result()
    signals_page.write(read(file), arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
