"""Whether class names say anything about the images, told without labels.

Any class vectors split the images along CLIP's own directions, so the answers of names that say nothing are smooth over
neighbours, too: that neighbours agree is no evidence. What tells a name from noise is how far some images stand out in it. Here
that is compared with common nouns in the same templates. benchmarks/results/names.md has the study, with what this does not see:
names that belong to other classes of the same collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NULLS = 20
"""Lists of nouns that the names are compared with."""
TEMPLATES = 8
"""Templates, the first ones, that names and nouns are filled into."""
IMAGES = 20_000
"""Images looked at, drawn with a fixed seed, where there are more."""
LEAST_IMAGES = 10
"""With fewer images nothing is said."""
WINS = 0.6
"""Below this the names say little. 0.5 is what nouns taken at random have."""
RANK = 0.5
"""In a list that says little, names below this are named: half of the nouns stand out more. It is no verdict on one name of a
good list, where up to a quarter of the right names lie below it."""
NAMED = 8
"""A sentence names at most this many classes."""


def measured(images: np.ndarray, names: np.ndarray, nouns: np.ndarray) -> dict[str, Any]:
    """How far the images stand out in the names, against nouns.

    Cosines are taken from each text's mean over the images, because some texts are near to every image.

    Args:
        images: float32 [N, d], unit rows.
        names: float32 [C, d], unit rows: the class names in templates.
        nouns: float32 [W, d], unit rows: words that were not chosen for these images, in the same templates.

    Returns:
        `wins`: share of the images whose largest cosine with a name is above the largest with as many nouns; mean of `NULLS`
            lists of nouns. In [0, 1]: 0.5 if names do no better than nouns, 1 if all images are nearer to a name. Where there are
            more names than nouns it is scaled so that 0.5 means the same.
        `ranks`: C of them, in [0, 1]: share of the nouns whose peak is lower than the name's. A peak is the mean of the
            N / 2C largest cosines.
        `images`: N.
    """
    count, classes = len(images), len(names)
    center = images.mean(axis=0)
    mine, others = (images - center) @ names.T, (images - center) @ nouns.T
    best, drawn = mine.max(axis=1), min(classes, len(nouns))
    lists = [np.random.default_rng(draw).permutation(len(nouns))[:drawn] for draw in range(NULLS)]
    wins = float(np.mean([(best > others[:, one].max(axis=1)).mean() for one in lists]))
    chance = classes / (classes + drawn)
    largest = max(1, count // (2 * classes))
    peaks, theirs = (np.partition(one, count - largest, axis=0)[-largest:].mean(axis=0) for one in (mine, others))
    ranks = (theirs[None] < peaks[:, None]).mean(axis=1)
    wins = wins if drawn == classes else max(0.0, 1 - (1 - wins) / (2 * (1 - chance)))
    return {"wins": wins, "ranks": ranks.tolist(), "images": count}


def drawn(count: int) -> np.ndarray:
    """Which of the images are looked at, int64, in order."""
    if count <= IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, IMAGES, replace=False))


def record(found: Mapping[str, Any], names: Sequence[str], *, described: bool) -> dict[str, Any]:
    """What names.json holds.

    Args:
        found: of `measured`.
        names: of the classes, C.
        described: whether there are sentences about the classes beside their names.
    """
    ranks = dict(zip(names, found["ranks"], strict=True))
    return {"images": found["images"], "wins": found["wins"], "described": described, "ranks": ranks}


def verdict(told: Mapping[str, Any]) -> str | None:
    """What a user must know of the names as a whole; None if they stand out, or nothing can be said.

    Args:
        told: content of names.json, as of `record`.
    """
    if told["images"] < LEAST_IMAGES or told["wins"] >= WINS:
        return None
    weak = _weak(told)
    share = round(100 * float(told["wins"]))
    sentences = [
        f"The class names say little about these images: {share} % of the images are nearer to a name than to as many nouns "
        "taken at random, and names without a meaning reach 50 %."
    ]
    if weak and len(weak) < len(told["ranks"]):
        sentences.append(f"Least of all: {_some(weak)}.")
    if told["described"]:
        sentences.append("The descriptions have to carry the meaning, so look at some predictions before you use them.")
    else:
        sentences.append("Sentences about each class help (descriptions), or other names: what one sees, in English.")
    return " ".join(sentences)


def _weak(told: Mapping[str, Any]) -> list[str]:
    """The names that half of the nouns or more stand out from, weakest first."""
    return sorted((name for name, rank in told["ranks"].items() if rank < RANK), key=lambda name: float(told["ranks"][name]))


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
