"""How well `nola audit` measures: simulated audits of the beds of benchmarks/beds.py.

    python -m benchmarks.beds     # once: embed digits and the photographs
    python -m benchmarks.audit    # writes benchmarks/results/audit.csv and audit.md

Each population is the test images of a bed with one method's answers. An audit draws images, looks up their labels as a person
would, and gives an interval. It is right if the interval holds the accuracy over all images of the population. All ways are asked
with the same numbers of labels.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import betaincinv
from scipy.stats import hypergeom, norm

from benchmarks import audit_page, beds
from benchmarks.methods import run
from nola_core.trust import audit

RESULTS = Path(__file__).parent / "results"
METHODS = ("zero_shot", "templates", "evidence")
MORE = {"digits": ("alignment",)}
LABELS = (30, 50, 100)
AUDITS = 1000
FLOOR = 0.04
"""Least variance that Neyman's allocation takes a stratum to have: the classifier may be wrong where it is sure."""
STEP = 5
"""The impatient looks at the figure after so many labels, from `audit.MIN_LABELS` on, and stops where it pleases."""

Interval = tuple[float, float, float]
"""Low, high, and the estimate between them."""


@dataclass(frozen=True)
class Population:
    """The images of a bed with a method's answers.

    Attributes:
        confidence: float [N].
        classes: int [N].
        right: bool [N], from the labels.
    """

    bed: str
    method: str
    confidence: np.ndarray
    classes: np.ndarray
    right: np.ndarray


def populations(bed: str) -> list[Population]:
    """Those of one bed, its first method first."""
    draw = beds.load(bed).draw("whole", 0)
    found: list[Population] = []
    for method in (*METHODS, *MORE.get(bed, ())):
        answers = run(draw, method, {})[1]["test"]
        best = answers.max(dim=1)
        classes, confidence = best.indices.numpy(), best.values.double().numpy()
        if not any(np.array_equal(confidence, other.confidence) for other in found):  # one template: `templates` is `zero_shot`
            found.append(Population(bed, method, confidence, classes, classes == draw.test.labels))
    return found


def simulate(bed: str, audits: int = AUDITS) -> list[dict[str, object]]:
    """One row for each population of a bed, number of labels and way: coverage and mean width."""
    rows = []
    mine = populations(bed)
    for population in mine:
        for way, answer in ways(population, mine[0]).items():
            found = [answer(seed) for seed in range(audits)]
            for place, labels in enumerate(LABELS):
                rows.append(_row(population, way, labels, np.array([intervals[place] for intervals in found])))
    return rows


def ways(population: Population, first: Population) -> dict[str, Callable[[int], list[Interval]]]:
    """Name -> seed -> one interval for each of `LABELS`."""
    right = population.right
    simple = _exact_tables(len(right))
    found: dict[str, Callable[[int], list[Interval]]] = {
        "audit": lambda seed: [stratified(population, right, seed, labels) for labels in LABELS],
        "simple": lambda seed: [_simple(right, seed, labels, clopper_pearson) for labels in LABELS],
        "simple, finite": lambda seed: [_simple(right, seed, labels, simple) for labels in LABELS],
        "ppi++": lambda seed: [ppi(population, _sample(right, seed, labels)) for labels in LABELS],
        "half neyman": lambda seed: [stratified(population, right, seed, labels, neyman=0.5) for labels in LABELS],
        "stopped early": lambda seed: [impatient(population, seed, labels) for labels in LABELS],
    }
    if population.method != first.method:
        found["old design"] = lambda seed: [stratified(first, right, seed, labels) for labels in LABELS]
    return found


def stratified(design: Population, right: np.ndarray, seed: int, labels: int, *, neyman: float = 0.0) -> Interval:
    """That of `nola_core.trust.audit`; drawn for `design`, about the answers that are `right`."""
    plan = _plan(design, seed, neyman)
    found = audit.estimate(plan, {int(row): bool(right[row]) for row in plan.order[:labels]})
    assert found is not None
    return found.low, found.high, found.accuracy


def impatient(population: Population, seed: int, labels: int) -> Interval:
    """The interval of somebody who sees it on the way and stops where it looks best, that is, where its middle is highest."""
    plan = _plan(population, seed, 0.0)
    looks = range(audit.MIN_LABELS, labels + 1, STEP)
    found = [
        audit.estimate(plan, {int(row): bool(population.right[row]) for row in plan.order[:seen]}) for seen in (*looks, labels)
    ]
    best = max((one for one in found if one is not None), key=lambda one: one.accuracy)
    return best.low, best.high, best.accuracy


def ppi(population: Population, rows: np.ndarray, level: float = 0.95) -> Interval:
    """PPI++ for a mean (Angelopoulos, Duchi and Zrnic, 2023, example 6.1): the confidence stands for what was not asked."""
    guess, right = population.confidence, population.right[rows].astype(float)
    labels, images = len(rows), len(guess)
    mine = guess[rows]
    power = float(np.cov(right, mine)[0, 1] / max(np.var(guess), 1e-12) / (1 + labels / images))
    power = min(max(power, 0.0), 1.0)
    mean = power * guess.mean() + (right - power * mine).mean()
    deviation = np.sqrt(power**2 * guess.var() / images + (right - power * mine).var(ddof=1) / labels)
    reach = norm.ppf((1 + level) / 2) * deviation
    return float(mean - reach), float(mean + reach), float(mean)


def clopper_pearson(right: int, labels: int, level: float = 0.95) -> Interval:
    """Of a simple random sample, whatever it was drawn from."""
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, labels - right + 1, tail))
    return low, 1.0 if right == labels else float(betaincinv(right + 1, labels - right, 1 - tail)), right / labels


def _exact_tables(images: int, level: float = 0.95) -> Callable[[int, int], Interval]:
    """The exact interval of a simple random sample from so many images: what the hypergeometric law does not rule out."""
    tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def interval(right: int, labels: int) -> Interval:
        if labels not in tables:
            good = np.arange(images + 1)[:, None]
            seen = np.arange(labels + 1)[None, :]
            tail = (1 - level) / 2
            possible = (hypergeom.sf(seen - 1, images, good, labels) > tail) & (hypergeom.cdf(seen, images, good, labels) > tail)
            tables[labels] = possible.argmax(axis=0) / images, 1 - possible[::-1].argmax(axis=0) / images
        return float(tables[labels][0][right]), float(tables[labels][1][right]), right / labels

    return interval


def _simple(right: np.ndarray, seed: int, labels: int, interval: Callable[[int, int], Interval]) -> Interval:
    return interval(int(right[_sample(right, seed, labels)].sum()), labels)


def _sample(right: np.ndarray, seed: int, labels: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).permutation(len(right))[:labels]


_PLANS: dict[tuple[str, str, int, float], audit.Plan] = {}


def _plan(design: Population, seed: int, neyman: float) -> audit.Plan:
    """The sample; a part `neyman` of the labels goes to the strata by their expected deviation, the rest by their size."""
    key = (design.bed, design.method, seed, neyman)
    if key not in _PLANS:
        plan = audit.draw(design.confidence, design.classes, seed=seed)
        if neyman:
            queues = [plan.order[plan.stratum[plan.order] == number] for number in range(int(plan.stratum.max()) + 1)]
            size = np.array([len(queue) for queue in queues]) / len(plan.order)
            mean = np.array([design.confidence[queue].mean() for queue in queues])
            deviation = size * np.sqrt(np.maximum(mean * (1 - mean), FLOOR))
            share = (1 - neyman) * size + neyman * deviation / deviation.sum()
            plan = audit.Plan(audit._interleaved(queues, share), plan.stratum)
        _PLANS[key] = plan
    return _PLANS[key]


def _row(population: Population, way: str, labels: int, found: np.ndarray) -> dict[str, object]:
    accuracy = population.right.mean()
    holds = (found[:, 0] <= accuracy) & (accuracy <= found[:, 1])
    return {
        "bed": population.bed,
        "method": population.method,
        "images": len(population.right),
        "accuracy": round(float(accuracy), 4),
        "way": way,
        "labels": labels,
        "audits": len(found),
        "coverage": round(float(holds.mean()), 4),
        "width": round(float((found[:, 1] - found[:, 0]).mean()), 4),
        "bias": round(float(found[:, 2].mean() - accuracy), 4),
    }


def _tasks(pool: ProcessPoolExecutor, names: list[str], audits: int) -> Iterator[list[dict[str, object]]]:
    yield from (running.result() for running in [pool.submit(simulate, name, audits) for name in names])


def main(argv: list[str] | None = None) -> int:
    """Simulate, then write the table and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__.splitlines()[0])
    parser.add_argument("--beds", nargs="+", choices=beds.BEDS, default=list(beds.BEDS))
    parser.add_argument("--audits", type=int, default=AUDITS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="simulate nothing, write the page again")
    arguments = parser.parse_args(argv)
    file = arguments.results / "audit.csv"
    if not arguments.page:
        start = time.perf_counter()
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(arguments.jobs) as pool:
            rows = [row for some in _tasks(pool, beds.available(arguments.beds), arguments.audits) for row in some]
        pd.DataFrame(rows).to_csv(file, index=False)
        print(f"{time.perf_counter() - start:.0f} s")
    audit_page.write(pd.read_csv(file), arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
