"""Label-free signals of the study that NoLA does not show (results/signals.md): pure functions of answers and features.

Answers are probabilities, [N, C] with rows that sum to 1, or class ids, int64 [N]; features are float32 [N, d] with unit rows.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from nola_core import alignment
from nola_core.algebra import labelling
from nola_core.methods.alignment import Options as HeadOptions

FOLDS = 3


def mean_confidence(p: Tensor) -> float:
    """Mean of the largest probability, in [1 / C, 1]."""
    return float(p.amax(dim=1).mean())


def nuclear_norm(p: Tensor) -> float:
    """Sum of the singular values over its maximum sqrt(N min(N, C)), in (0, 1] (Cui et al., CVPR 2020)."""
    count, classes = p.shape
    return float(torch.linalg.matrix_norm(p.double(), "nuc")) / math.sqrt(count * min(count, classes))


def answer_nuclear_norm(answers: Tensor, classes: int) -> float:
    """`nuclear_norm` of the one-hot answers: the sum of the square roots of the counts."""
    counts = torch.bincount(answers, minlength=classes).double()
    return float(counts.sqrt().sum()) / math.sqrt(len(answers) * min(len(answers), classes))


def mean_prediction_entropy(p: Tensor) -> float:
    """Entropy of the mean prediction over log C, in [0, 1]."""
    return float(torch.special.entr(p.double().mean(dim=0)).sum()) / math.log(p.shape[1])


def infomax(p: Tensor) -> float:
    """Mutual information of image and class, H(mean p) - mean H(p), over log C; in [0, 1]."""
    return mean_prediction_entropy(p) - float(torch.special.entr(p.double()).sum(dim=1).mean()) / math.log(p.shape[1])


def neighborhood_density(p: Tensor, *, temperature: float = 0.05) -> float:
    """SND: mean entropy of softmax_j(cos(p_i, p_j) / temperature) over the other images j, over log(N - 1); N >= 3.

    Saito et al., Tune it the Right Way, ICCV 2021, equations 2 to 4. In [0, 1]; takes N x N memory.
    """
    rows = normalize(p, dim=1)
    cosines = rows @ rows.T / temperature
    cosines.fill_diagonal_(-torch.inf)
    return float(torch.special.entr(cosines.softmax(dim=1)).sum(dim=1).mean()) / math.log(len(p) - 1)


def mano(p: Tensor, *, power: float = 4.0) -> float:
    """(sum p^power / (N C))^(1/power): MaNo's matrix norm, of probabilities (Xie et al., NeurIPS 2024, equation 5)."""
    return float(p.double().pow(power).mean().pow(1 / power))


def transport_accuracy(p: Tensor, proportions: Tensor) -> float:
    """COT: 1 - the least cost of moving the answers to N labels of given class proportions.

    The cost of p_i and label y is |e_y - p_i|_1 / 2 = 1 - p_iy (Lu et al., Characterizing Out-of-Distribution Error via Optimal
    Transport, NeurIPS 2023, section 4). With as many labels as images the plan is an assignment. Takes N x N memory.

    Args:
        proportions: [C], sum 1; the labels are N times these, rounded.
    """
    wanted = len(p) * proportions.double()
    counts = wanted.floor().long()
    counts[(counts - wanted).argsort(stable=True)[: len(p) - int(counts.sum())]] += 1  # the largest remainders
    gains = p.double().numpy()[:, np.repeat(np.arange(p.shape[1]), counts.numpy())]
    return float(gains[linear_sum_assignment(gains, maximize=True)].mean())


def agreement(answers: Tensor, others: Tensor) -> float:
    """Share of equal answers."""
    return float((answers == others).double().mean())


def vote(answers: Sequence[Tensor], classes: int) -> Tensor:
    """The most frequent answer of several methods for every image, int64 [N]; ties go to the method named first."""
    counts = torch.stack([one_hot(one, classes) for one in answers]).sum(dim=0)
    places = torch.stack([counts.gather(1, one[:, None])[:, 0] for one in answers])
    return torch.stack(list(answers)).gather(0, places.argmax(dim=0, keepdim=True))[0]


def learnability(features: Tensor, answers: Tensor, classes: int, *, steps: int = 60) -> float:
    """TURTLE's score: cross-validated accuracy of a logistic regression in learning the answers from the features.

    Gadetsky et al., Let Go of Your Labels with Unsupervised Transfer, ICML 2024, section 4. The regression takes a fixed number
    of steps of Adam; the folds are dealt out in the order of the images.
    """
    rows = features * math.sqrt(features.shape[1])
    targets, folds = one_hot(answers, classes).float(), torch.arange(len(answers)) % FOLDS
    right = torch.zeros(len(answers), dtype=torch.bool)
    for fold in range(FOLDS):
        asked = folds == fold
        weights, bias = labelling.fitted(rows[~asked], targets[~asked], steps=steps, learning_rate=0.03)
        right[asked] = (rows[asked] @ weights.T + bias).argmax(dim=1) == answers[asked]
    return float(right.double().mean())


def head_agreement(features: Tensor, answers: Tensor, asked: Tensor, classes: int, *, seeds: tuple[int, int] = (0, 1)) -> float:
    """Share of the images `asked` that two small heads answer alike; they learn the same answers and differ in their seed.

    The agreement of such a pair estimates their accuracy about what they learnt (Jiang et al., Assessing Generalization of SGD
    via Disagreement, ICLR 2022).

    Args:
        features, answers: what the heads learn from.
        asked: float32 [M, d].
    """
    options = HeadOptions(hidden=64, epochs=20, batch_size=128, learning_rate=0.01)
    found = []
    for seed in seeds:
        with contextlib.redirect_stderr(io.StringIO()):
            head = alignment.train(features, answers, classes=classes, options=options, seed=seed)
        found.append(head.predict({"ssl": asked}).argmax(dim=1))
    return agreement(*found)
