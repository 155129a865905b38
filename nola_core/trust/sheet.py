"""An audit without a browser: a CSV file with the images to judge, next to a folder with their pictures, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from PIL import Image

from nola_core.errors import NolaError
from nola_core.files import replacing
from nola_core.lookup import known
from nola_core.text import as_written, write_spreadsheet
from nola_core.trust.answers import Verdict
from nola_core.trust.judging import Judging, Question

NONE, SKIP = "(none)", "(skip)"
COLUMNS = ("picture", "options", "answer", "image_id")


def write(judging: Judging, file: Path, image_of: Callable[[str], Image.Image]) -> int:
    """Write the images that are still wanted; their number.

    Args:
        file: the CSV file; the pictures go into a folder with its name and `-images` behind.
        image_of: image id -> the image.

    Raises:
        NolaError: an image cannot be read.
    """
    questions = list(_open(judging))
    width = len(str(len(questions)))
    pictures = file.with_name(f"{file.stem}-images")
    rows = []
    with replacing(pictures) as scratch:
        scratch.mkdir()
        for number, question in enumerate(questions, start=1):
            name = f"{number:0{width}d}.png"
            image_of(question.image_id).save(scratch / name)
            options = " | ".join(judging.classes[option] for option in question.options)
            rows.append((f"{pictures.name}/{name}", options, "", question.image_id))
    with replacing(file) as scratch:
        write_spreadsheet(scratch, pd.DataFrame(rows, columns=list(COLUMNS)), float_format="%g")
    return len(rows)


def read(judging: Judging, file: Path) -> int:
    """Store the answers of a table; how many of them are new. Rows without an answer stay open.

    Raises:
        NolaError: the file is no such table, or an answer names no class; nothing is stored then.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig")
        separator = ";" if ";" in lines.partition("\n")[0] else ","  # as some spreadsheets save it
        table = as_written(pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator))
    except (ValueError, UnicodeDecodeError) as error:
        raise NolaError(f"{file} cannot be read as a table ({' '.join(str(error).split())}); save it as CSV in UTF-8.") from None
    if missing := [name for name in ("image_id", "answer") if name not in table.columns]:
        raise NolaError(f"{file} has no column {' and no column '.join(missing)}; it must be a table that `nola audit` wrote.")
    given: list[tuple[str, Verdict, str | None]] = []
    for line, (image_id, said) in enumerate(zip(table["image_id"], table["answer"], strict=True), start=2):
        if not (said := said.strip()):
            continue
        if image_id not in judging.progress.images:
            raise NolaError(f"{file}, line {line}: there is no image '{image_id}' in this audit.")
        verdict, label = _verdict(judging, said, f"{file}, line {line}")
        before = judging.progress.decided(image_id)
        if before is None or (before.verdict, before.label) != (verdict, label):
            given.append((image_id, verdict, label))
    judging.answer_all(given)
    return len(given)


def _open(judging: Judging) -> Iterator[Question]:
    """The next questions, as many as labels are missing."""
    wanted = judging.labels - judging.judged
    for place, image_id in enumerate(judging.progress.order):
        if wanted <= 0:
            return
        if place < judging.progress.place:
            continue
        if judging.progress.decided(image_id) is None:
            yield judging.asked(place)
        wanted -= 1


def _verdict(judging: Judging, said: str, where: str) -> tuple[Verdict, str | None]:
    classes = judging.classes
    if said in classes:
        return "class", said
    if said.casefold() in (NONE, NONE[1:-1]):
        return "none", None
    if said.casefold() in (SKIP, SKIP[1:-1]):
        return "skip", None
    by_shown: dict[str, str] = {}
    for name, shown in classes.items():
        by_shown.setdefault(shown.casefold(), name)
        by_shown.setdefault(name.casefold(), name)
    if said.casefold() in by_shown:
        return "class", by_shown[said.casefold()]
    try:
        known(said, list(classes), "class")
    except NolaError as error:
        raise NolaError(f"{where}: {error} Otherwise write {NONE} or {SKIP}.") from None
    raise AssertionError
