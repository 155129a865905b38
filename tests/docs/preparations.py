"""What commands of the documentation find when they run here, and what keeps a project quick after them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from nola_core import files
from nola_core.trust import groups
from tests.docs.home import quietly, tiny_pair, tune_briefly, use_tiny_towers
from tests.project import change


def before(words: list[str], home: Path, shown: Sequence[str]) -> list[str]:
    """Prepare the working directory for a command of `nola`; its words, or more of them.

    Args:
        shown: what the page shows as its output.
    """
    if words == ["status"] and not shown:  # the page tells nothing of changes
        return words
    for start, prepare in BEFORE.items():
        if words[: len(start.split())] == start.split():
            return [*words, *prepare(words, home)]
    return words


def after(words: Sequence[str], home: Path) -> None:
    """Set what a command of `nola` has made, so that what follows takes seconds."""
    if words[0] == "init":
        tune_briefly(Path(*words[1:2]))
    elif words[0] == "add" and "demo" not in words:
        use_tiny_towers(home, words[1])


def answer(file: Path) -> None:
    """Answer every question that `nola describe` has written for another program."""
    file.write_text(json.dumps({question: ["It is round."] for question in json.loads(file.read_text())}))


def _is_not_there_yet(words: list[str], home: Path) -> list[str]:
    """Remove the data set that is to be added; its results stay."""
    if Path("params.yaml").is_file() and words[1] in yaml.safe_load(Path("params.yaml").read_text())["datasets"]:
        quietly("remove", words[1])
    return []


def _has_tiny_towers(words: list[str], home: Path) -> list[str]:
    """Name tiny towers where no pair is named."""
    return [] if "--backbones" in words else ["--backbones", str(tiny_pair(home))]


def _finds_changes(words: list[str], home: Path) -> list[str]:
    """Three new images, and another number of epochs."""
    for number in range(3):
        Image.effect_noise((8, 8), 60).save(home / "photographs" / f"new-{number}.png")
    change(Path("params.yaml"), "nola", "epochs", value=20)
    return []


def _finds_a_group(words: list[str], home: Path) -> list[str]:
    """Write a group of images that fit no name, which fifty digits do not have, where one is asked for."""
    if "--group" not in words:
        return []
    folder = Path("data") / words[2]
    images = pd.read_parquet(folder / "unknown.parquet")
    images["group"] = (images.index < 8).astype("int32")
    images.to_parquet(folder / "unknown.parquet")
    row = {
        "group": 1,
        "images": 8,
        "score": 0.9,
        "inside": 0.9,
        "class_ids": [0],
        "shares": [1.0],
        "image_ids": images["image_id"][:8],
    }
    files.write_table(folder / "unknown_groups.parquet", pd.DataFrame([row]), groups.SCHEMA)
    return []


def _finds_answers(words: list[str], home: Path) -> list[str]:
    """Fill in the table of an audit, if it is there."""
    table = Path(words[words.index("--table") + 1]) if "--table" in words else None
    if table and table.is_file():
        pd.read_csv(table).assign(answer="cat").to_csv(table, index=False)
    return []


BEFORE: dict[str, Callable[[list[str], Path], list[str]]] = {
    "adapt": _has_tiny_towers,
    "add": _is_not_there_yet,
    "audit": _finds_answers,
    "inspect unknown": _finds_a_group,
    "status": _finds_changes,
}
"""Beginning of a command of `nola` -> what prepares it, and returns more words for it."""
