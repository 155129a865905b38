"""The signal that ranks methods, and how well it did so in the study. Read without torch."""

from __future__ import annotations

RANKED = {"neighbors_ssl": 0.71}
"""Signal -> share of pairs of methods of which the one with the higher value was more accurate; chance is 0.5.

The mean over the collections of benchmarks/results/signals.md, of pairs whose accuracies differ by a point or more.
"""
TITLES = {"neighbors_ssl": "Agreement with neighbours"}


def sentence(signal: str) -> str:
    """What a signal is good for."""
    return (
        f"of two methods, the one with the higher {signal} was more accurate in {100 * RANKED[signal]:.0f} % of pairs "
        "on benchmark collections it was not chosen on"
    )
