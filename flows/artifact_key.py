"""Keys and files of artifacts, apart so that a run which publishes nothing does not load pandas."""

from __future__ import annotations

import hashlib
import json
import re

PICTURES = ("accuracy", "class_counts")
"""The picture of a summary is the first of these that the report has."""
_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def artifact_key(dataset: str, kind: str) -> str:
    """A key of `[a-z0-9-]` that no other data set and kind share: `digits-pseudo-labels`.

    Names of lower-case letters, digits and single underscores are kept; others get a hash of the whole at the end.
    """
    if _PLAIN.fullmatch(dataset) and _PLAIN.fullmatch(kind):
        return f"{dataset}_{kind}".replace("_", "-")
    words = re.sub(r"[^a-z0-9]+", "-", f"{dataset}-{kind}".lower()).strip("-")
    digest = hashlib.sha256(json.dumps([dataset, kind]).encode()).hexdigest()[:12]
    return f"{words}-{digest}"
