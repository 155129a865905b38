"""The signals that rank methods, and how well they did it in the study. Read without loading features or torch."""

from __future__ import annotations

RANKED = {"neighbors_clip": 0.0, "neighbors_ssl": 0.0}
"""Signal -> share of pairs of methods of which the one with the higher value was more accurate; chance is 0.5.

The mean over the four collections of benchmarks/results/signals.md, of pairs whose accuracies differ by a point or more.
"""


def sentence(signal: str) -> str:
    """What a signal is good for."""
    spaces = {"neighbors_clip": "CLIP's features", "neighbors_ssl": "self-supervised features"}
    return (
        f"of two methods, the one that agrees better with neighbours in {spaces[signal]} was more accurate in "
        f"{100 * RANKED[signal]:.0f} % of the pairs of our study"
    )
