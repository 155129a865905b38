"""The temperatures of nola_core/backbones/pairs.yaml: fitted with the labels of the beds' train images, checked on test images.

    python -m benchmarks.beds            # once: the features
    python -m benchmarks.temperatures    # results/temperatures.md and .csv, seconds

A temperature T divides CLIP's logits in the probabilities that text methods show. It minimises the mean negative log-likelihood
of `templates` on the train images (Guo et al., 2017). A model with two collections ships the geometric mean of theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from benchmarks import beds
from benchmarks.methods_page import markdown
from nola_core.evaluation import expected_calibration_error
from nola_core.files import replacing
from nola_core.methods import registry
from nola_core.methods.method import TextMethod
from nola_core.text_classifier import TextClassifier

RESULTS = Path(__file__).parent / "results"
MODELS = {
    "demo": ["digits"],
    "offline": ["caltech101", "cifar10"],
    "openai-b32": ["whurs19-b32-b32"],
    "openai-l14": ["whurs19-l14-rn50"],
}
"""Entry `clip` of pairs.yaml -> beds with its text space."""
BINS = 15
BEGIN, END = "<!-- table: written by benchmarks/temperatures.py -->", "<!-- end of table -->"


def fitted(logits: Tensor, labels: Tensor) -> float:
    """T with the least mean negative log-likelihood of labels int64 [N] under softmax(logits / T), float32 [N, C]."""

    def loss(log_t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits.double() / np.exp(log_t), labels))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(100)), method="bounded").x))


def logits(bed: beds.Bed, name: str, part: beds.Part) -> tuple[Tensor, Tensor]:
    """Of a text method, float32 [N, C], and the labels."""
    method = registry.find(name)
    assert isinstance(method, TextMethod)
    classifier = method.fit(bed.texts, options=method.section())
    assert isinstance(classifier, TextClassifier)
    return classifier.logit_scale * part.features["clip"] @ classifier.weights.T, torch.from_numpy(part.labels)


def ece(scores: Tensor, labels: Tensor, temperature: float) -> float:
    """Calibration error in percent."""
    confidence, answers = (scores / temperature).softmax(dim=1).max(dim=1)
    return round(100 * expected_calibration_error(confidence.numpy(), (answers == labels).numpy(), BINS), 1)


def rows(found: list[str]) -> Iterator[dict[str, Any]]:
    """One row a model, bed, text method and split."""
    for model, names in MODELS.items():
        mine = {name: beds.load(name) for name in names if name in found}
        own = {name: fitted(*logits(bed, "templates", bed.split(0)[0])) for name, bed in mine.items()}
        shipped = float(np.exp(np.mean(np.log(list(own.values()))))) if own else 1.0
        for name, bed in mine.items():
            others = [t for other, t in own.items() if other != name]
            for method in ("zero_shot", "templates", *(["cde"] if any(bed.texts.descriptions) else [])):
                for split, part in zip(("train", "test"), bed.split(0), strict=True):
                    scores, labels = logits(bed, method, part)
                    yield {
                        "model": model,
                        "dataset": name.split("-")[0],
                        "method": method,
                        "split": split,
                        "images": len(labels),
                        "top1": round(100 * float((scores.argmax(dim=1) == labels).double().mean()), 1),
                        "confidence": round(100 * float(scores.softmax(dim=1).amax(dim=1).mean()), 1),
                        "ece": ece(scores, labels, 1.0),
                        "temperature": round(own[name], 2),
                        "ece_own": ece(scores, labels, own[name]),
                        "ece_other": ece(scores, labels, others[0]) if others else "",
                        "shipped": round(shipped, 2),
                        "ece_shipped": ece(scores, labels, shipped),
                    }


def write(table: pd.DataFrame, folder: Path) -> None:
    """temperatures.csv, and the table of temperatures.md; what stands around it there is kept."""
    with replacing(folder / "temperatures.csv") as scratch:
        table.to_csv(scratch, index=False)
    page = folder / "temperatures.md"
    around = page.read_text() if page.is_file() else f"# Temperatures\n\n{BEGIN}\n{END}\n"
    lines = "\n".join(markdown(table))
    with replacing(page) as scratch:
        scratch.write_text(f"{around.split(BEGIN)[0]}{BEGIN}\n\n{lines}\n\n{END}{around.split(END)[1]}")
    print(lines)


def main() -> int:
    """Fit, check and write."""
    write(pd.DataFrame(rows(beds.available())), RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
