"""The handwriting of scikit-learn's `load_digits`, split as the `digits` collection splits it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from demo.render import Labels, Pixels, show

TRAIN_IMAGES = 1297


class Handwriting(NamedTuple):
    """N x 32 x 32 x 3 uint8 pictures; the labels are for checks alone and never reach a training."""

    train: Pixels
    test: Pixels
    train_labels: Labels
    test_labels: Labels


def load_handwriting() -> Handwriting:
    """Orders the 1,797 images by the SHA-256 of their id: the first 1,297 are the train split, the last 500 test."""
    bunch = load_digits()
    pictures = np.stack([show(image) for image in bunch.images])
    labels = np.asarray(bunch.target, dtype=np.int64)
    order = sorted(range(len(pictures)), key=lambda index: hashlib.sha256(f"digits/{index:04d}".encode()).hexdigest())
    train, test = order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]
    return Handwriting(pictures[train], pictures[test], labels[train], labels[test])
