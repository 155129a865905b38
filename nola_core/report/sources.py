"""What the collection consists of: splits, copies, files that could not be used, class names and descriptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nola_core.datasets.names import changed_names
from nola_core.evaluation import SPLITS, truth_of
from nola_core.report.style import shown
from nola_core.report.tables import Tables

DESCRIBED_CLASSES = 60
"""The page quotes the descriptions of at most this many classes; all are in descriptions.parquet."""
TEXTS, TEXT = 20, 300
"""Of a class at most so many, of at most so many letters."""
LISTED = 50
"""Unreadable files, near duplicates and renamed classes are listed up to this many, and counted in full."""
PATH = 120


def split_rows(tables: Tables) -> list[dict[str, str]]:
    """For every split: how many images there are, and how many of them are readable and labelled."""
    rows = []
    readable = tables.manifest["ok"].astype(bool)
    for split in SPLITS:
        inside = tables.manifest["split"] == split
        if not inside.any():
            continue
        ids = tables.manifest.loc[inside & readable, "image_id"]
        labelled = int((truth_of(ids, tables.truth) >= 0).sum())
        rows.append({"split": split, "files": f"{int(inside.sum()):,}", "readable": f"{len(ids):,}", "labelled": f"{labelled:,}"})
    return rows


def leaked_images(near_duplicates: pd.DataFrame, split: str) -> int:
    """How many images of `split` have a near duplicate in another split, on whichever side of a pair they stand."""
    across = near_duplicates[near_duplicates["split"] != near_duplicates["other_split"]]
    ids = set(across.loc[across["split"] == split, "image_id"])
    return len(ids | set(across.loc[across["other_split"] == split, "other_id"]))


def duplicate_rows(tables: Tables) -> list[dict[str, Any]]:
    """The most similar pairs."""
    first = tables.near_duplicates.sort_values("similarity", ascending=False, kind="stable").head(LISTED)
    return [
        {
            "image_id": shown(row["image_id"], PATH),
            "split": str(row["split"]),
            "other_id": shown(row["other_id"], PATH),
            "other_split": str(row["other_split"]),
            "similarity": float(row["similarity"]),
            "exact": bool(row["exact"]),
        }
        for row in first.to_dict("records")
    ]


def unreadable_rows(tables: Tables) -> tuple[list[dict[str, str]], int]:
    """The first files that could not be used, with the reason, and how many there are."""
    bad = tables.manifest[~tables.manifest["ok"].astype(bool)]
    rows = [
        {"image_id": shown(row["image_id"], PATH), "split": str(row["split"]), "reason": shown(row["reason"], TEXT)}
        for row in bad.head(LISTED).to_dict("records")
    ]
    return rows, len(bad)


def renamed_classes(tables: Tables) -> list[tuple[str, str]]:
    """(name, name in texts) of the classes that prompts and templates call otherwise than the data set does."""
    ordered = tables.classes.sort_values("class_id")
    changed = changed_names(ordered["name"].tolist(), ordered["display_name"].tolist())
    return [(shown(name), shown(other)) for name, other in changed]


def description_rows(table: pd.DataFrame) -> list[tuple[str, int, list[str]]]:
    """(class, number of texts, the first texts) of the first classes."""
    groups = list(table.groupby("class_id", sort=True))[:DESCRIBED_CLASSES]
    return [
        (shown(part["class"].iloc[0]), len(part), [shown(text, TEXT) for text in part["text"].head(TEXTS)]) for _, part in groups
    ]


def described_by(table: pd.DataFrame) -> list[str]:
    """`provider (model)` of every origin of the texts, most frequent first."""
    names = [
        shown(f"{provider} ({model})" if model else provider)
        for provider, model in zip(table["provider"], table["model"], strict=True)
    ]
    return [name for name, _ in Counter(names).most_common(LISTED)]


def why_undescribed(describe: Mapping[str, Any], dataset: str, *, project: bool) -> str:
    """Why a data set has no descriptions, in words that say what would change it.

    Args:
        describe: the parameters of the stage `describe`.
        dataset: its name.
        project: whether it has a file of settings; after `nola adapt` it has none.
    """
    if not project:
        return "none were given."
    if describe["provider"] == "none":
        return "describe.provider is none."
    if describe["provider"] == "llm":
        return (
            "describe.provider is llm, but no language model was configured (OPENAI_API_KEY or NOLA_LLM_BASE_URL) "
            "and no answer was in the cache."
        )
    return f"data/{dataset}.yaml names no table of `descriptions`."
