"""What the report says of corrections: whether the result is label-free, and which images its accuracies are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nola_core.corrections import sentence


def labels_used(metrics: Mapping[str, Any]) -> str:
    """Whether the result is label-free, and if not, what people gave.

    Args:
        metrics: content of metrics.json.
    """
    given = metrics.get("corrections")
    return f"{sentence(given)}." if given else "No label was used."


def notice(metrics: Mapping[str, Any]) -> str:
    """What corrections do to the figures; empty without corrections. See `labels_used`."""
    given = metrics.get("corrections")
    if not given:
        return ""
    found = [f"{sentence(given)}."]
    if not metrics["methods"] and not metrics.get("audit"):
        return found[0]
    if given["left_out"]:
        found.append(
            "They were learnt from. The accuracy is about the other images alone: do not compare it with the one before."
        )
    elif given["reported"]:
        found.append("The corrected images of the measured split were not learnt from, and count by the methods' own answers.")
    if given["merges"] or given["classes"]:
        found.append("The class list is not the one of before, so accuracies are not comparable.")
    return " ".join(found)
