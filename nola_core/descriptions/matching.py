"""Which class of a list a name from elsewhere means, and what was found to fit or not."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nola_core.datasets.names import display_name
from nola_core.descriptions.grammar import singular

NEAR = 0.92
"""Similarity (difflib, 0 to 1) of two normalised names from which on they are one: one letter too many in a word of six."""
SHOWN = 20
"""Names of a kind that are listed; all are counted."""


@dataclass(frozen=True)
class Coverage:
    """How the names of a file fit a class list.

    Attributes:
        exact: file's name -> class, where the file spells the class name or its display name.
        normalized: file's name -> class, equal but for case, underscores, signs, articles and plurals.
        near: file's name -> class, nearly equal.
        missing: classes no name of the file means, in class order.
        extra: names of the file that mean no class.
        repeated: names that stand in the file more than once.
    """

    exact: dict[str, str]
    normalized: dict[str, str]
    near: dict[str, str]
    missing: list[str]
    extra: list[str]
    repeated: list[str]

    @property
    def class_of(self) -> dict[str, str]:
        """File's name -> class, however it was found."""
        return self.near | self.normalized | self.exact

    def lines(self) -> list[str]:
        """The report, one line a finding; a complete and exact match is one line."""
        found = self.class_of
        shared = [name for name, count in Counter(found.values()).items() if count > 1]
        kinds = [
            ("matched but for case, signs or plural", [f"{name} = {to}" for name, to in self.normalized.items()]),
            ("nearly the same, taken as one", [f"{name} = {to}" for name, to in self.near.items()]),
            ("several names for one class, put together", [f"{to} ({_keys(found, to)})" for to in shared]),
            ("names that stand there more than once, put together", self.repeated),
            ("names of no class, left out", [self._hinted(name) for name in self.extra]),
            ("classes without a description", self.missing),
        ]
        covered = len(set(found.values()))
        head = f"{covered} of {covered + len(self.missing)} classes described, {len(self.exact)} names matched exactly"
        return [head, *(f"  {what}: {len(items)}: {_listed(items)}" for what, items in kinds if items)]

    def _hinted(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.missing, n=1)
        return f"{name} (is it {near[0]}? then rename it)" if near else name


def match(names: Sequence[str], classes: pd.DataFrame) -> Coverage:
    """Find the class each name means.

    A name is first compared as it stands, then normalised, then, among the names and classes left over, by similarity: at
    least `NEAR`, the same first letter, the same digits, and the best for either side.

    Args:
        names: from the file, in its order, repetitions included.
        classes: `name, display_name`.
    """
    distinct = list(dict.fromkeys(names))
    spelled = dict(zip(classes["display_name"], classes["name"], strict=True))
    spelled |= dict(zip(classes["name"], classes["name"], strict=True))
    exact = {name: spelled[name] for name in distinct if name in spelled}
    keys: dict[str, set[str]] = {}
    for text, name in spelled.items():
        keys.setdefault(normalized(text), set()).add(name)
    same = {
        name: next(iter(meant)) for name in distinct if name not in exact and len(meant := keys.get(normalized(name), set())) == 1
    }
    taken = set(exact.values()) | set(same.values())
    left = [name for name in classes["name"] if name not in taken]
    near = _near([name for name in distinct if name not in exact and name not in same], left)
    found = {**exact, **same, **near}
    described = set(found.values())
    missing = [name for name in classes["name"] if name not in described]
    extra = [name for name in distinct if name not in found]
    return Coverage(exact, same, near, missing, extra, [name for name, count in Counter(names).items() if count > 1])


def normalized(name: str) -> str:
    """A name's letters and digits in lower case: no signs, no leading article, words in the singular, written together."""
    words = re.findall(r"[^\W_]+", display_name(name).casefold().replace("'", ""))
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    return "".join(singular(word) for word in words)


def _near(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Pairs of leftover names and classes that are nearly the same, best first, each used once."""
    pairs = []
    theirs = {name: normalized(name) for name in classes}
    for name in names:
        text = normalized(name)
        alike = [
            (difflib.SequenceMatcher(None, text, target).ratio(), other)
            for other, target in theirs.items()
            if text[:1] == target[:1] and re.findall(r"\d+", text) == re.findall(r"\d+", target)
        ]
        best = max((ratio for ratio, _ in alike), default=0.0)
        likest = [other for ratio, other in alike if ratio == best]
        if best >= NEAR and len(likest) == 1:
            pairs.append((best, name, likest[0]))
    found: dict[str, str] = {}
    for _, name, other in sorted(pairs, key=lambda pair: -pair[0]):
        if name not in found and other not in found.values():
            found[name] = other
    return found


def _keys(found: dict[str, str], to: str) -> str:
    return ", ".join(name for name, target in found.items() if target == to)


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", ..." if len(items) > SHOWN else "")
