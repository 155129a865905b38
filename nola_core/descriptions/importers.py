"""Published descriptions: the formats they come in, turned into the table that `describe` reads.

    python -m nola_core.descriptions import FILE --dataset pets --out pets.csv

JSON comes as class -> sentences (CuPL, LaFTer, NoLA), class -> prompt -> sentences, or class -> descriptors (classification by
description, Menon & Vondrick, 2023), which become sentences. CSV and Parquet need a class and a text column.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from nola_core.datasets.names import display_name
from nola_core.descriptions.grammar import is_plural
from nola_core.descriptions.matching import Coverage, match
from nola_core.descriptions.table import COLUMNS, check_size
from nola_core.errors import NolaError
from nola_core.files import read_table, replacing

Kind = Literal["auto", "sentences", "descriptors"]
CLASS_COLUMNS = ("class", "class_name", "classname", "label", "name", "category")
TEXT_COLUMNS = ("text", "description", "sentence", "descriptor", "caption")
VERBS = ("has", "have", "is", "are", "may", "can", "often", "usually", "typically", "sometimes", "uses")


@dataclass(frozen=True)
class Imported:
    """A file of descriptions, brought to the names of a class list.

    Attributes:
        table: `class, prompt, text, provider, model`; class as in `classes.name`, each text once a class.
        coverage: how the names of the file fit. Names of no class are left out of the table and listed here.
        repeated_texts: how many texts were dropped because their class had them already.
        made_sentences: whether texts were descriptors and made into sentences.
    """

    table: pd.DataFrame
    coverage: Coverage
    repeated_texts: int
    made_sentences: bool

    def lines(self) -> list[str]:
        """The report: everything a reader has to know before using the table."""
        found = self.coverage.lines()
        if self.repeated_texts:
            found.append(f"  texts a class had already, dropped: {self.repeated_texts}")
        if self.made_sentences:
            found.append(f"  descriptors made into sentences, such as: {self.table['text'].iloc[0]}")
        return found


def import_file(path: Path, classes: pd.DataFrame, *, kind: Kind = "auto", model: str = "") -> Imported:
    """Read a file of descriptions and bring its names to those of a class list.

    Args:
        path: .json, .csv or .parquet.
        classes: `name, display_name`.
        kind: whether texts are sentences or descriptors to be made into some; `auto` takes them for descriptors if hardly
            any of them names its class and most begin with a small letter.
        model: what wrote them, for the column of that name where the file has none.

    Raises:
        NolaError: absent, unreadable, of no known form, or none of its names is a class; names the place.
    """
    if not path.is_file():
        raise NolaError(f"the descriptions {path} do not exist.")
    check_size(path)
    if path.suffix == ".json":
        table = _read_json(path)
    elif path.suffix in (".csv", ".parquet"):
        table = _read_columns(path)
    else:
        raise NolaError(f"{path}: descriptions are read from .json, .csv and .parquet, not from '{path.suffix}'.")
    if table.empty:
        raise NolaError(f"{path} holds no descriptions.")
    coverage = match(table.drop_duplicates("block")["class"].tolist(), classes)
    if not coverage.class_of:
        some = ", ".join(coverage.extra[:3])
        raise NolaError(f"{path}: none of its names ({some}, ...) is a class of the list; is it the file of another data set?")
    table = table.assign(provider=table["provider"].replace("", path.name), model=table["model"].replace("", model))
    table = table.assign(**{"class": table["class"].map(coverage.class_of)}).dropna(subset="class")
    descriptors = kind == "descriptors" or (kind == "auto" and are_descriptors(table, classes))
    if descriptors:
        shown = dict(zip(classes["name"], classes["display_name"], strict=True))
        sentences = [as_sentence(text, shown[name]) for name, text in zip(table["class"], table["text"], strict=True)]
        table = table.assign(text=sentences)
    distinct = table[COLUMNS].drop_duplicates(["class", "text"], ignore_index=True)
    return Imported(distinct, coverage, len(table) - len(distinct), descriptors)


def are_descriptors(table: pd.DataFrame, classes: pd.DataFrame) -> bool:
    """Whether texts look like descriptors ("two pointed ears") and not like sentences about their class."""
    shown = dict(zip(classes["name"], classes["display_name"].str.casefold(), strict=True))
    named = [shown[name] in text.casefold() for name, text in zip(table["class"], table["text"], strict=True)]
    small = [not text[:1].isupper() for text in table["text"]]
    return sum(named) < 0.2 * len(table) and sum(small) > 0.5 * len(table)


def as_sentence(descriptor: str, name: str) -> str:
    """A descriptor as a text about its class, as in classification by description: `dog, which has two pointed ears`.

    `which is` goes before a, an and used, `which` alone before a verb or adverb, `which has` before the rest; for plural
    names `are` and `have`.
    """
    text = descriptor.strip().rstrip(".")
    text = text if text[1:2].isupper() else text[:1].lower() + text[1:]
    first = text.split(maxsplit=1)[0]
    is_, has = (" are", " have") if is_plural(name) else (" is", " has")
    verb = "" if first in VERBS else is_ if first in ("a", "an", "used") else has
    return f"{name}, which{verb} {text}"


def _read_json(path: Path) -> pd.DataFrame:
    """Rows of a JSON file; repeated keys are kept apart by `block`, where the JSON reader itself would drop all but the last."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except ValueError as error:
        raise NolaError(f"{path} is no JSON ({error}).") from None
    except RecursionError:
        raise NolaError(f"{path} is no JSON of descriptions (nested too deep).") from None
    if not isinstance(content, _Pairs):
        raise NolaError(f"{path} must hold class -> texts; found {_kind(content)}.")
    rows = []
    for block, (name, value) in enumerate(content):
        prompts = value if isinstance(value, _Pairs) else [("", value)]
        for prompt, texts in prompts:
            listed = texts if type(texts) is list else [texts]
            for number, text in enumerate(listed, start=1):
                if not isinstance(text, str):
                    raise NolaError(f"{path}: text {number} of class '{name}' is {_kind(text)}, where a sentence should stand.")
                texts_ = (name.strip(), prompt, " ".join(text.split()))
                rows.append((block, *(text.encode(errors="replace").decode() for text in texts_)))  # \ud83d is half a character
    table = pd.DataFrame(rows, columns=["block", "class", "prompt", "text"]).assign(provider="", model="")
    empty = table[(table["text"] == "") | (table["class"] == "")]
    if len(empty):
        raise NolaError(f"{path}: class '{empty['class'].iloc[0]}' has an empty text or no name; take it out.")
    return table


def _read_columns(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise NolaError(f"{path} cannot be read as a table of descriptions: {' '.join(str(error).split())}.") from None
    lower = {str(column).strip().casefold(): column for column in frame.columns}
    table = pd.DataFrame(index=range(len(frame)))
    for column, names in (("class", CLASS_COLUMNS), ("text", TEXT_COLUMNS)):
        found = [lower[name] for name in names if name in lower]
        if not found:
            raise NolaError(f"{path} has no column for the {column}: looked for {', '.join(names)}, found {', '.join(lower)}.")
        table[column] = frame[found[0]].fillna("").astype(str).str.split().str.join(" ").to_numpy()
        empty = table.index[table[column] == ""]
        if len(empty):
            raise NolaError(f"{path}: row {empty[0] + 1} has no {column}.")
    for column in ("prompt", "provider", "model"):
        table[column] = frame[lower[column]].fillna("").astype(str).to_numpy() if column in lower else ""
    return table.assign(block=table["class"])


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in order, repeated keys included."""


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {_Pairs: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")


def main(argv: list[str]) -> int:
    """Turn published descriptions into the table that `describe` reads, and show how their names fit the class list."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.descriptions import", description=main.__doc__)
    parser.add_argument("file", type=Path, help="a .json, .csv or .parquet file")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--dataset", help="a prepared data set, whose classes are described")
    target.add_argument("--classes", type=Path, help="a text file with one class name a line")
    parser.add_argument("--out", type=Path, help="the table to write, .csv or .parquet (default: only show what fits)")
    parser.add_argument("--kind", choices=["auto", "sentences", "descriptors"], default="auto")
    parser.add_argument("--model", default="", help="what wrote them, for the record")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    arguments = parser.parse_args(argv)
    imported = import_file(arguments.file, _classes(arguments), kind=arguments.kind, model=arguments.model)
    table, missing = imported.table, imported.coverage.missing
    print("\n".join(imported.lines()))
    if missing:
        several = "1 class" if len(missing) == 1 else f"{len(missing)} classes"
        raise NolaError(f"{arguments.file} leaves {several} without a description; add them. Nothing was written.")
    print(f"{len(table)} texts of {table['class'].nunique()} classes")
    if arguments.out:
        with replacing(arguments.out) as scratch:
            (table.to_parquet if arguments.out.suffix == ".parquet" else table.to_csv)(scratch, index=False)
        print(f"written to {arguments.out}; name it as `descriptions` in data/<name>.yaml")
    return 0


def _classes(arguments: argparse.Namespace) -> pd.DataFrame:
    if arguments.dataset:
        return read_table(arguments.root / "data" / arguments.dataset / "classes.parquet")
    try:
        lines = arguments.classes.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NolaError(f"the class list {arguments.classes} cannot be read ({error}).") from None
    found = [line.strip() for line in lines if line.strip()]
    return pd.DataFrame({"name": found, "display_name": [display_name(name) for name in found]})
