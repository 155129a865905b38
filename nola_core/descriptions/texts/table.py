"""The table of descriptions, one sentence about one class a row, and the files that it is read from.

Published JSON comes as class -> sentences (CuPL, LaFTer, NoLA), class -> prompt -> sentences, or class -> descriptors
(classification by description, Menon & Vondrick, 2023), which become sentences. CSV and Parquet need a class and a text column.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import pyarrow as pa
from rapidfuzz import fuzz, process

from nola_core.datasets.names import display_name
from nola_core.errors import NolaError
from nola_core.grammar import closest, is_plural, singular
from nola_core.text import enumerated

SCHEMA = pa.schema([
    ("class_id", pa.int32()), ("class", pa.string()), ("prompt", pa.string()), ("text", pa.string()), ("provider", pa.string()),
    ("model", pa.string()),
])  # fmt: skip
LARGEST = 200_000_000  # bytes of a file of descriptions; the largest published ones have ten million
ADVICE = "Correct the table, or set describe.provider to none."
COLUMNS = ["class", "prompt", "text", "provider", "model"]
Kind = Literal["auto", "sentences", "descriptors"]
CLASS_COLUMNS = ("class", "class_name", "classname", "label", "name", "category")
TEXT_COLUMNS = ("text", "description", "sentence", "descriptor", "caption")
VERBS = ("has", "have", "is", "are", "may", "can", "often", "usually", "typically", "sometimes", "uses")
NEAR = 92  # two normalised names at least this similar (0 to 100) are the same: one letter more in a word of six
SHOWN = 20  # names listed for each finding; all are counted


def read_provided(path: Path) -> pd.DataFrame:
    """A table of descriptions somebody wrote or imported: CSV or Parquet with the columns class, prompt, text, provider, model.

    Raises:
        NolaError: absent, unreadable, a column missing, or a row without class or text (the row is named).
    """
    frame = _read_frame(path)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise NolaError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
    if path.suffix != ".parquet" and not isinstance(frame.index, pd.RangeIndex):  # pandas took the surplus for row names
        raise NolaError(f"{path}: row 1 has more fields than the header; put texts that hold a comma in quotes.")
    frame = frame[COLUMNS].reset_index(drop=True).fillna("").astype(str)
    _first_empty(path, frame)
    return frame


def describe(provided: pd.DataFrame, classes: pd.DataFrame, *, source: str, advice: str = ADVICE) -> pd.DataFrame:
    """The sentences of this class list, in class order, duplicates within a class dropped.

    `provided` has the columns `COLUMNS` and names a class by its name or display name in `classes` (`class_id, name,
    display_name`). `source` says in messages where it is from, `advice` what to do.

    Raises:
        NolaError: a class of the list has no sentence, or a sentence belongs to no class (both lists are named).
    """
    ids = class_ids(provided["class"], classes)
    extra = sorted(set(provided.loc[ids.isna(), "class"]))
    lacking = classes.loc[~classes["class_id"].isin(ids), "name"].tolist()
    if extra or lacking:
        known = [*classes["name"], *classes["display_name"]]
        hints = [f"'{name}' is near '{near}'" for name in extra[:10] if (near := closest(name, known))]
        raise NolaError(
            f"{source} does not fit the class list"
            + (f"; classes without a description: {enumerated(lacking, most=10)}" if lacking else "")
            + (f"; descriptions of unknown classes: {enumerated(extra, most=10)}" if extra else "")
            + (f" ({enumerated(hints)})" if hints else "")
            + f". {advice}"
        )
    table = provided.assign(class_id=ids.astype(int)).drop_duplicates(["class_id", "text"])
    return table.sort_values("class_id", kind="stable", ignore_index=True)


def class_ids(names: pd.Series, classes: pd.DataFrame) -> pd.Series:
    """The class id that each name means, or null: the name of a class, its display name, or one that reads the same."""
    ids = dict(zip(classes["display_name"], classes["class_id"], strict=True))
    ids |= dict(zip(classes["name"], classes["class_id"], strict=True))
    return names.map(lambda name: ids.get(name, ids.get(display_name(name))))


@dataclass(frozen=True)
class Coverage:
    """How the names of a file fit a class list; `exact`, `normalized` and `near` map a name of the file to its class."""

    exact: dict[str, str]  # spelled like the class name or its display name
    normalized: dict[str, str]  # equal but for case, underscores, signs, articles and plurals
    near: dict[str, str]  # nearly equal
    missing: list[str]  # classes that no name of the file means, in class order
    extra: list[str]  # names of the file that mean no class
    repeated: list[str]  # names that the file has more than once

    @property
    def class_of(self) -> dict[str, str]:
        """File's name -> class, however it was found."""
        return self.near | self.normalized | self.exact

    def lines(self) -> list[str]:
        """The report, one line a finding; a complete and exact match is one line."""
        names_of: dict[str, list[str]] = defaultdict(list)
        for name, to in self.class_of.items():
            names_of[to].append(name)
        nearest = {name: closest(name, self.missing) for name in self.extra}
        findings = {
            "matched but for case, signs or plural": [f"{name} = {to}" for name, to in self.normalized.items()],
            "nearly the same, taken as one": [f"{name} = {to}" for name, to in self.near.items()],
            "several names for one class, merged": [f"{to} ({', '.join(n)})" for to, n in names_of.items() if n[1:]],
            "names that occur more than once, merged": self.repeated,
            "names of no class, left out": [f"{n} (is it {to}? then rename it)" if to else n for n, to in nearest.items()],
            "classes without a description": self.missing,
        }
        total = len(names_of) + len(self.missing)
        head = f"{len(names_of)} of {total} classes described, {len(self.exact)} names matched exactly"
        return [head, *(f"  {what}: {len(items)}: {enumerated(items, most=SHOWN)}" for what, items in findings.items() if items)]


class Imported(NamedTuple):
    """A file of descriptions, brought to the names of a class list."""

    table: pd.DataFrame  # `table.COLUMNS`, each text once a class; names of no class are left out
    coverage: Coverage
    report: list[str]  # everything a reader has to know before using the table, line by line


def import_file(path: Path, classes: pd.DataFrame, *, kind: Kind = "auto", model: str = "") -> Imported:
    """Read a file of descriptions and bring its names to those of a class list.

    Args:
        path: .json, .csv or .parquet.
        classes: `name, display_name`.
        kind: whether texts are sentences or descriptors to be made into some; `auto` looks at them.
        model: what wrote them, where the file does not say it.

    Raises:
        NolaError: absent, unreadable, of no known form, or none of its names is a class; names the place.
    """
    if path.suffix not in (".json", ".csv", ".parquet"):
        raise NolaError(f"{path}: descriptions are read from .json, .csv and .parquet, not from '{path.suffix}'.")
    table = _read_json(path) if path.suffix == ".json" else _read_columns(path)
    if table.empty:
        raise NolaError(f"{path} holds no descriptions.")
    coverage = match(table.drop_duplicates("block")["class"].tolist(), classes)
    if not coverage.class_of:
        some = ", ".join(coverage.extra[:3])
        raise NolaError(f"{path}: none of its names ({some}, ...) is a class of the list; is it the file of another data set?")
    table = table.assign(provider=table["provider"].replace("", path.name), model=table["model"].replace("", model))
    table = table.assign(**{"class": table["class"].map(coverage.class_of)}).dropna(subset="class")
    shown = table["class"].map(dict(zip(classes["name"], classes["display_name"], strict=True)))
    report = coverage.lines()
    if kind == "descriptors" or (kind == "auto" and are_descriptors(table["text"].tolist(), shown.tolist())):
        table = table.assign(text=[as_sentence(text, name) for text, name in zip(table["text"], shown, strict=True)])
        report.append(f"  descriptors made into sentences, such as: {table['text'].iloc[0]}")
    distinct = table[COLUMNS].drop_duplicates(["class", "text"], ignore_index=True)
    if repeated := len(table) - len(distinct):
        report.append(f"  texts that their class had already, dropped: {repeated}")
    return Imported(distinct, coverage, report)


def match(names: Sequence[str], classes: pd.DataFrame) -> Coverage:
    """Find the class each name means.

    A name (of the file, in its order, repetitions included) is first compared as it stands, then normalised, then, among the
    names and classes (`name, display_name`) left over, by similarity: at least `NEAR`, the same first letter, the same
    digits, and the best for either side.
    """
    spelled = dict(zip([*classes["display_name"], *classes["name"]], [*classes["name"]] * 2, strict=True))
    exact = {name: spelled[name] for name in names if name in spelled}
    keys: dict[str, set[str]] = defaultdict(set)
    for text, name in spelled.items():
        keys[normalized(text)].add(name)
    meant = {name: keys.get(normalized(name), set()) for name in names if name not in exact}
    same = {name: next(iter(found)) for name, found in meant.items() if len(found) == 1}
    taken = {*exact.values(), *same.values()}
    near = _near([name for name in meant if name not in same], [name for name in classes["name"] if name not in taken])
    taken |= set(near.values())
    missing = [name for name in classes["name"] if name not in taken]
    extra = [name for name in meant if name not in same and name not in near]
    return Coverage(exact, same, near, missing, extra, [name for name, count in Counter(names).items() if count > 1])


def normalized(name: str) -> str:
    """A name's letters and digits in lower case: no signs, no leading article, words in the singular, written together."""
    words = re.findall(r"[^\W_]+", display_name(name).casefold().replace("'", ""))
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    return "".join(singular(word) for word in words)


def are_descriptors(texts: Sequence[str], names: Sequence[str]) -> bool:
    """Whether texts look like descriptors ("two pointed ears"): hardly any names its class, and most begin in lower case."""
    named = sum(name.casefold() in text.casefold() for text, name in zip(texts, names, strict=True))
    return named < 0.2 * len(texts) and sum(not text[:1].isupper() for text in texts) > 0.5 * len(texts)


def as_sentence(descriptor: str, name: str) -> str:
    """A descriptor as a text about its class, as in classification by description: `dog, which has two pointed ears`."""
    text = descriptor.strip().rstrip(".")
    text = text if text[1:2].isupper() else text[:1].lower() + text[1:]
    first = text.split(maxsplit=1)[0]
    is_, has = (" are", " have") if is_plural(name) else (" is", " has")
    verb = "" if first in VERBS else is_ if first in ("a", "an", "used") else has
    return f"{name}, which{verb} {text}"


def _near(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Pairs of leftover names and classes that are nearly the same, each used once, the more similar pair first."""
    theirs = {name: normalized(name) for name in classes}
    pairs = []
    for name in reversed(names):
        ours = normalized(name)
        alike = {to: text for to, text in theirs.items() if _start(text) == _start(ours)}
        best = process.extract(ours, alike, scorer=fuzz.ratio, score_cutoff=NEAR, limit=2)
        if best and (len(best) == 1 or best[0][1] > best[1][1]):
            pairs.append((best[0][1], name, str(best[0][2])))
    name_of = {to: name for _, name, to in sorted(pairs, key=lambda pair: pair[0])}  # the last one, the best, stays
    return {name: to for to, name in name_of.items()}


def _start(text: str) -> tuple[str, list[str]]:
    """What must be equal in two names that are nearly the same: first letter and numbers."""
    return text[:1], re.findall(r"\d+", text)


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in order, repeated keys included, of which a dict would keep the last."""


def _read_json(path: Path) -> pd.DataFrame:
    """Rows of a JSON file; `block` tells repeated keys apart."""
    _check_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else error
        raise NolaError(f"{path} is no JSON of descriptions ({said}).") from None
    if not isinstance(content, _Pairs):
        raise NolaError(f"{path} must hold an object, class -> texts.")
    rows = []
    for block, (name, value) in enumerate(content):
        for prompt, texts in value if isinstance(value, _Pairs) else [("", value)]:
            for number, text in enumerate(texts if type(texts) is list else [texts], start=1):
                if not isinstance(text, str):
                    raise NolaError(f"{path}: text {number} of class '{name}' is not a string; write a sentence there.")
                row = (name.strip(), prompt, " ".join(text.split()))
                rows.append((block, *(part.encode(errors="replace").decode() for part in row)))  # \ud83d is half a character
                if not row[0] or not row[2]:
                    raise NolaError(f"{path}: class '{name}' has an empty text or no name; remove it.")
    return pd.DataFrame(rows, columns=["block", "class", "prompt", "text"]).assign(provider="", model="")


def _read_columns(path: Path) -> pd.DataFrame:
    """Rows of a CSV or Parquet file, whatever it calls its columns."""
    frame = _read_frame(path).rename(columns=lambda column: str(column).strip().casefold())
    frame = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True).astype(object).fillna("").astype(str)
    for column, names in (("class", CLASS_COLUMNS), ("text", TEXT_COLUMNS)):
        found = next((name for name in names if name in frame), None)
        if found is None:
            raise NolaError(
                f"{path} has no column for the {column}: looked for {', '.join(names)}, found {', '.join(frame.columns)}."
            )
        frame[column] = frame[found].str.split().str.join(" ")
    _first_empty(path, frame)
    return frame.reindex(columns=COLUMNS, fill_value="").assign(block=frame["class"])


def _read_frame(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as it stands, every cell of a CSV a text; NolaError if it is absent, too large, or unreadable."""
    _check_file(path)
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise NolaError(f"{path} cannot be read as a table of descriptions: {' '.join(str(error).split())}.") from None


def _check_file(path: Path) -> None:
    """Raise NolaError for a file that is not there, or larger than `LARGEST`."""
    if not path.is_file():
        raise NolaError(f"the descriptions {path} do not exist; write them, or set describe.provider to none.")
    if (size := path.stat().st_size) > LARGEST:
        raise NolaError(f"{path} has {size / 1e6:,.0f} MB; a file of descriptions may have {LARGEST / 1e6:.0f}.")


def _first_empty(path: Path, frame: pd.DataFrame) -> None:
    """Raise NolaError for the first row without class or text."""
    for column in ("class", "text"):
        empty = frame.index[frame[column].str.strip() == ""]
        if len(empty):
            raise NolaError(f"{path}: row {empty[0] + 1} has no {column}.")
