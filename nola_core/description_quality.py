"""The quality of each description: whether CLIP reads all of it, what it names, and how well it tells its class from others.

Everything is measured in text space, so no image and no label is needed. Let f be the feature of a sentence of class c,
phi_c the class-description embedding of c, made of all its sentences and templates, and phi_c' the same without f. The
neighbours of c are the classes whose embeddings are nearest to phi_c by cosine.

    own_cosine    cos(f, phi_c')
    rival         the neighbour n with the largest cos(f, phi_n), which is rival_cosine
    margin        own_cosine minus the mean of cos(f, phi_n) over the neighbours

A sentence with a large margin separates its class from similar ones. A sentence that is nearer to its rival than to its own
class would be taken for the rival's if it stood alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.grammar import singular

SCHEMA = pa.schema([
    ("class_id", pa.int32()), ("class", pa.string()), ("text", pa.string()), ("tokens", pa.int32()), ("truncated", pa.bool_()),
    ("repeats", pa.string()), ("names_own", pa.bool_()), ("names_others", pa.list_(pa.string())), ("own_cosine", pa.float32()),
    ("rival", pa.string()), ("rival_cosine", pa.float32()), ("margin", pa.float32()), ("kept", pa.bool_()), ("why", pa.string()),
])  # fmt: skip
LEAST = 3  # sentences a class keeps however few separate it
CHUNK = 4096  # sentences a step


def assess(
    described: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    features: Tensor,
    templates: Tensor,
    tokens: Sequence[int],
    context_length: int,
    neighbors: int,
    keep: Literal["all", "separating"],
) -> pd.DataFrame:
    """The table of description quality, one row a description, in the order given.

    Args:
        described: `class_id, text`.
        classes: `class_id, name, display_name`, class ids 0 to C - 1 in order.
        features, templates, neighbors: see `separation`.
        tokens, context_length: how many tokens each description has, and how many CLIP reads.
        keep: `all`, or `separating`: those nearer to their own class than to any of its neighbours and no repetition of an
            earlier one; where fewer than `LEAST` are left, the `LEAST` of the largest margin.
    """
    ids = described["class_id"].to_numpy(dtype=np.int64)
    names = classes["name"].to_numpy(dtype=object)
    own, rival, rival_cosine, margin = separation(features, torch.tensor(ids), templates, neighbors=neighbors)
    named = named_classes(described["text"].tolist(), classes["display_name"].tolist())
    table = pd.DataFrame({"class_id": ids, "class": names[ids], "text": described["text"].to_numpy(), "tokens": list(tokens)})
    table["truncated"], table["repeats"] = table["tokens"] > context_length, _repeats(table)
    table["names_own"] = [mine in found for mine, found in zip(ids, named, strict=True)]
    table["names_others"] = [names[sorted(found - {mine})].tolist() for mine, found in zip(ids, named, strict=True)]
    table["own_cosine"], table["margin"] = own.numpy(), margin.numpy()
    table["rival"], table["rival_cosine"] = names[rival.numpy()], rival_cosine.numpy()
    table["kept"], table["why"] = True, "kept: all are"
    return _separating(table) if keep == "separating" else table


def separation(
    features: Tensor, class_ids: Tensor, templates: Tensor, *, neighbors: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How near each sentence is to its own class without it, and to the classes next to that one.

    Args:
        features: float32 [T, d], unit rows.
        class_ids: int64 [T].
        templates: float32 [C, d], sum of the unit features of each class's templates; C >= 2.
        neighbors: nearest classes looked at; C - 1 where there are fewer.

    Returns:
        own cosine float32 [T], class id of the rival int64 [T], its cosine float32 [T], margin float32 [T]; see the module.
    """
    sums = templates.index_add(0, class_ids, features)
    phi = normalize(sums, dim=-1)
    near = phi @ phi.T
    near.fill_diagonal_(-torch.inf)
    nearest = near.topk(min(neighbors, len(phi) - 1), dim=1).indices
    parts = []
    for start in range(0, len(features), CHUNK):
        f, c = features[start : start + CHUNK], class_ids[start : start + CHUNK]
        own = (f * normalize(sums[c] - f, dim=-1)).sum(dim=1)
        cosines = torch.einsum("td,tnd->tn", f, phi[nearest[c]])
        best = cosines.max(dim=1)
        rival = nearest[c].gather(1, best.indices[:, None])[:, 0]
        parts.append((own, rival, best.values, own - cosines.mean(dim=1)))
    own, rival, rival_cosine, margin = (torch.cat(part) for part in zip(*parts, strict=True))
    return own, rival, rival_cosine, margin


def named_classes(texts: Sequence[str], names: Sequence[str]) -> list[set[int]]:
    """Which class names stand in each text, as whole words in any case and number.

    Longer names come first and use their words up: "a sea lion" names the sea lion and no lion.
    """
    rows: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for row, name in enumerate(names):
        rows[_words(name)].add(row)
    longest = max(map(len, rows))

    def named(words: tuple[str, ...]) -> set[int]:
        found, at = set(), 0
        while at < len(words):
            length = next((n for n in range(longest, 0, -1) if words[at : at + n] in rows), 0)
            found |= rows[words[at : at + length]] if length else set()
            at += length or 1
        return found

    return [named(_words(text)) for text in texts]


def _words(text: str) -> tuple[str, ...]:
    return tuple(singular(word) for word in re.findall(r"[^\W_]+", text.casefold()))


def _repeats(described: pd.DataFrame) -> pd.Series:
    """For each text the earlier one of its class that says the same but for case, signs and spaces; empty if there is none."""
    said = described["text"].map(lambda text: " ".join(re.findall(r"[^\W_]+", text.casefold())))
    first = described["text"].groupby([described["class_id"], said]).transform("first")
    return first.where(pd.DataFrame({"class": described["class_id"], "said": said}).duplicated(), "")


def _separating(table: pd.DataFrame) -> pd.DataFrame:
    fresh = table["repeats"] == ""
    nearer = table["own_cosine"] > table["rival_cosine"]
    kept = fresh & nearer
    too_few = kept.groupby(table["class_id"]).transform("sum") < LEAST
    rank = table["margin"].where(fresh).groupby(table["class_id"]).rank(ascending=False, method="first")
    spared = too_few & ~kept & (rank <= LEAST)
    why = np.select(
        [~fresh, spared, nearer],
        ["left out: repeats an earlier one", f"kept: among the {LEAST} best of a class with few", "kept: nearer to its class"],
        default="left out: nearer to its rival",
    )
    return table.assign(kept=kept | spared, why=why)


def findings(table: pd.DataFrame) -> list[str]:
    """What a reader of the log or the report must know; empty where there is nothing to say."""
    counts = [
        (int(table["truncated"].sum()), "have more tokens than CLIP reads; their ends are cut off"),
        (int((table["repeats"] != "").sum()), "say the same as an earlier one of their class"),
        (int((~table["names_own"]).sum()), "do not name their class"),
        (int((table["names_others"].map(len) > 0).sum()), "name another class"),
        (int((table["own_cosine"] <= table["rival_cosine"]).sum()), "are nearer to another class than to their own"),
        (int((~table["kept"]).sum()), "are left out of the class-description embedding"),
    ]
    return [f"{count:,} of {len(table):,} descriptions {what}" for count, what in counts if count]
