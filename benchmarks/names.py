"""Lists of names that say nothing about a bed's images, and figures that might tell them from informative ones.

    python -m benchmarks.names --beds digits cifar10           # the beds for choosing
    python -m benchmarks.names --beds caltech101 whurs19-b32-b32 whurs19-b32-l14 whurs19-l14-rn50

One row a list is written to benchmarks/results/names-lists.csv, one a name of the lists `right` and `half` to names-single.csv.
benchmarks/results/names-protocol.md says what is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.optimize import linear_sum_assignment

from benchmarks import beds, photographs
from nola_core import text_classifier
from nola_core.algebra import blocks, graph
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.trust import names as trust
from nola_core.trust.words import NOUNS

RESULTS = Path(__file__).parent / "results"
FILE, SINGLE = "names-lists.csv", "names-single.csv"
WORDS: dict[str, Any] = {name: words.split() if isinstance(words, str) else words
         for name, words in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).items()}  # fmt: skip
NEIGHBORS = 10
DRAWS = 3
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
Vectors = Callable[[Sequence[str]], np.ndarray]
"""Class names -> class vectors, float32 [C, d]."""


def agreement(answers: np.ndarray, neighbors: np.ndarray, *, classes: int) -> float:
    """How much more often neighbours share an answer than shuffled answers would, over what is left to 1 (Cohen's kappa).

    Args:
        answers: int64 [N], the class of each image.
        neighbors: int64 [N, k], its nearest other images.
        classes: C.
    """
    counts = np.bincount(answers, minlength=classes).astype(float)
    images = len(answers)
    chance = float((counts * (counts - 1)).sum()) / (images * (images - 1)) if images > 1 else 1.0  # of two different images
    if chance >= 1 or not neighbors.size:
        return 0.0
    same = float((answers[neighbors] == answers[:, None]).mean())
    return (same - chance) / (1 - chance)


def information(answers: np.ndarray, neighbors: np.ndarray, *, classes: int) -> float:
    """Mutual information of an image's answer and a neighbour's, over log C. Arguments as of `agreement`."""
    if classes < 2 or not neighbors.size:
        return 0.0
    pairs = np.repeat(answers, neighbors.shape[1]) * classes + answers[neighbors].reshape(-1)
    cells, counts = np.unique(pairs, return_counts=True)
    joint = counts / counts.sum()
    own, other = np.bincount(cells // classes, joint, classes), np.bincount(cells % classes, joint, classes)
    found = float((joint * np.log(joint / (own[cells // classes] * other[cells % classes]))).sum())
    return max(0.0, found / np.log(classes))


def used(answers: np.ndarray, *, classes: int) -> float:
    """The share of the classes that the answers really use: exp of their entropy, over C."""
    shares = np.bincount(answers, minlength=classes) / len(answers)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) / classes


def turned(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Class vectors turned at random about their mean, within the space they span, float32 [C, d]."""
    center = weights.mean(axis=0, keepdims=True)
    basis, singular, axes = np.linalg.svd(weights - center, full_matrices=False)
    rank = int((singular > 1e-5 * max(singular[0], 1e-12)).sum())
    q, r = np.linalg.qr(rng.standard_normal((rank, rank)))
    q *= np.sign(np.diag(r))
    return ((basis[:, :rank] * singular[:rank]) @ q @ axes[:rank] + center).astype(np.float32)


class Lists:
    """The lists of names of one bed, as class vectors, and random words to compare with."""

    def __init__(self, bed: beds.Bed) -> None:
        self.bed, self.names = bed, bed.texts.names
        if bed.name not in beds.WHU:
            definition = yaml.safe_load((beds.CACHE / "data" / f"{bed.name}.yaml").read_text())
            clip = load_clip(load_pair(definition["backbones"]).clip, root=beds.CACHE)
            encode = text_classifier.remembered(clip.encode_texts)

            def vectors(names: Sequence[str]) -> np.ndarray:
                filled = text_classifier.fill(bed.texts.patterns, names)
                return text_classifier.build(encode, filled, names=names).numpy()

            self.vectors: Vectors = vectors

    def given(self, rng: np.random.Generator, draw: int) -> Iterator[tuple[str, np.ndarray]]:
        """(kind, class vectors) of a draw."""
        if self.bed.name in beds.WHU:
            yield from self._of_features(rng, draw)
            return
        count = len(self.names)
        if draw == 0:
            yield "right", self.vectors(self.names)
            yield "foreign", self.vectors(WORDS["german"][self.bed.name])
        yield "renamed", self.vectors(rng.permutation(self.names).tolist())
        adjectives = rng.permutation(WORDS["adjectives"])[:count].tolist()
        yield "adjectives", self.vectors(adjectives)
        yield "jargon", self.vectors(rng.permutation(WORDS["jargon"])[:count].tolist())
        yield "nonsense", self.vectors(["".join(rng.choice(SYLLABLES, 3)) for _ in range(count)])
        yield "other bed", self.vectors(rng.permutation(WORDS["other"])[:count].tolist())
        half = rng.permutation(count) < count // 2
        self.replaced = half
        yield "half", self.vectors([adjectives[row] if half[row] else name for row, name in enumerate(self.names)])

    def _of_features(self, rng: np.random.Generator, draw: int) -> Iterator[tuple[str, np.ndarray]]:
        right = self.bed.text.tensors()["weights"].numpy()
        templates, _ = self._wordings()
        if draw == 0:
            yield "right", right
        yield "renamed", right[rng.permutation(len(right))]
        blank = templates[rng.permutation(len(templates))[: len(right)]]
        yield "templates", blank
        yield "rotated", turned(right, rng)
        spread = np.linalg.cholesky(np.cov(right.T) + 1e-9 * np.eye(right.shape[1]))
        yield "gaussian", (right.mean(axis=0) + rng.standard_normal(right.shape) @ spread.T).astype(np.float32)
        self.replaced = half = rng.permutation(len(right)) < len(right) // 2
        yield "half", np.where(half[:, None], blank, right)

    def _wordings(self) -> tuple[np.ndarray, np.ndarray]:
        """Templates without a name: those of the lists, those to compare with."""
        model = beds.WHU[self.bed.name][0]
        every = np.load(photographs.bench_data() / "whurs19" / f"{model}.npz")["text_templates"].astype(np.float32)
        mean = every.mean(axis=1)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        return mean[::2], mean[1::2]

    def random_words(self) -> np.ndarray:
        """Vectors of words that say nothing about the bed, float32 [W, d]."""
        return self._wordings()[1] if self.bed.name in beds.WHU else self.vectors(NOUNS)


def figures(
    x: np.ndarray, near: np.ndarray, weights: np.ndarray, words: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """All candidates of the protocol for one list, and how much it says by the labels."""
    classes = len(weights)
    cosines = x @ weights.T
    answers = cosines.argmax(axis=1)

    def structure(given: np.ndarray) -> tuple[float, float, float]:
        return (
            agreement(given, near, classes=classes),
            information(given, near, classes=classes),
            used(given, classes=classes),
        )

    kappa, shared, spread = structure(answers)
    row: dict[str, float] = {
        "top1_renamed": best_renaming(answers, labels, classes),
        "majority": float(np.bincount(labels).max() / len(labels)),
        "agreement": kappa,
        "information": shared,
        "used": spread,
    }
    rotated = np.array([structure((x @ turned(weights, rng).T).argmax(axis=1)) for _ in range(trust.NULLS)])
    lists = [rng.permutation(len(words))[:classes] for _ in range(trust.NULLS)]
    against = x @ words.T
    random = np.array([structure(against[:, one].argmax(axis=1)) for one in lists])
    for name, nulls in (("turned", rotated), ("words", random)):
        for column, (what, value) in enumerate((("agreement", kappa), ("information", shared), ("used", spread))):
            mine = nulls[:, column]
            row[f"{what}_z_{name}"] = (value - mine.mean()) / max(float(mine.std()), 1e-3)
            row[f"{what}_rank_{name}"] = float((mine < value).mean() + (mine == value).mean() / 2)
    row["wins"] = float(np.mean([(cosines.max(axis=1) > against[:, one].max(axis=1)).mean() for one in lists]))
    row["wins_centred"] = trust.measured(x, weights, words)["wins"]
    return row


def single(x: np.ndarray, weights: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
    """The two candidates for one name, float [C].

    `peak_rank`: share of the words whose peak is lower; a peak is the mean of a text's N / 2C largest centred cosines.
    `own_wins`: share of the images the name wins among the names, centred, in which it also beats C words; NaN if it wins none.
    """
    classes, center = len(weights), x.mean(axis=0)
    cosines, against = (x - center) @ weights.T, (x - center) @ words.T
    lists = [np.random.default_rng(draw).permutation(len(words))[:classes] for draw in range(trust.NULLS)]
    won = np.mean([cosines.max(axis=1) > against[:, one].max(axis=1) for one in lists], axis=0)
    answers = cosines.argmax(axis=1)
    with np.errstate(invalid="ignore"):
        own = np.bincount(answers, won, classes) / np.bincount(answers, minlength=classes)
    return {"peak_rank": np.array(trust.measured(x, weights, words)["ranks"]), "own_wins": own}


def best_renaming(answers: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Accuracy of the best one-to-one assignment of names to classes."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (answers, labels), 1)
    return float(counts[linear_sum_assignment(-counts)].sum()) / len(labels)


def rows(name: str, variants: Sequence[str], seeds: Sequence[int], names: list[pd.DataFrame]) -> Iterator[dict[str, object]]:
    """The rows of a bed; those of single names are added to `names`."""
    bed = beds.load(name)
    lists = Lists(bed)
    words = lists.random_words()
    for variant in variants:
        for seed in seeds:
            drawn = bed.draw(variant, seed)
            features = drawn.features("train")
            x = features["clip"].numpy()
            near = graph.nearest(blocks.of(features["ssl"]), NEIGHBORS).rows.numpy()
            rng = np.random.default_rng([seed, beds.VARIANTS.index(variant), 9])
            for draw in range(DRAWS):
                for kind, weights in lists.given(rng, draw):
                    told = {"dataset": name, "variant": variant, "seed": seed, "draw": draw, "kind": kind, "images": len(x)}
                    if kind in ("right", "half"):
                        bad = lists.replaced if kind == "half" else np.zeros(len(weights), dtype=bool)
                        occurs = np.isin(np.arange(len(weights)), drawn.train.labels)
                        names.append(pd.DataFrame({**told, "bad": bad, "occurs": occurs} | single(x, weights, words)))
                    yield told | figures(x, near, weights, words, drawn.train.labels, rng)
            print(f"{name} {variant} {seed}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure the lists of some beds; their earlier rows are replaced."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.names", description=__doc__.splitlines()[0])
    parser.add_argument("--beds", nargs="+", choices=beds.BEDS, default=list(beds.BEDS))
    parser.add_argument("--variants", nargs="+", choices=beds.VARIANTS, default=list(beds.VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(beds.SEEDS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in beds.available(arguments.beds):
        names: list[pd.DataFrame] = []
        found = pd.DataFrame(rows(name, arguments.variants, arguments.seeds, names))
        for file, table in ((arguments.results / FILE, found), (arguments.results / SINGLE, pd.concat(names))):
            if file.is_file():
                earlier = pd.read_csv(file)
                table = pd.concat([earlier[earlier["dataset"] != name], table], ignore_index=True)
            table.round(4).to_csv(file, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
