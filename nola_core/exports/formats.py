"""The formats that predictions can be exported to, and the writing of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from nola_core.errors import NolaError
from nola_core.exports.predicted import Predicted
from nola_core.files import replacing


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        module: of `nola_core.exports`, with `write(predicted, out, link=...)`, and `readme(predicted, out)` where the text
            depends on the place of the folder.
        suffix: of the file it is; empty for a folder.
        links: whether images can be linked instead of copied.
    """

    module: str
    suffix: str = ""
    links: bool = False


FORMATS: Mapping[str, Format] = {
    "csv": Format("table", suffix=".csv"),
    "parquet": Format("table", suffix=".parquet"),
    "imagefolder": Format("imagefolder", links=True),
    "huggingface": Format("huggingface"),
    "label-studio": Format("labelstudio", links=True),
    "fiftyone": Format("fiftyone", links=True),
    "cleanlab": Format("cleanlab"),
}


def export(root: Path, dataset: str, *, to: str, out: Path, method: str | None = None, link: bool = False) -> int:
    """Write the predictions of a data set in a format.

    Args:
        to: a key of `FORMATS`.
        out: a file that is replaced, or a folder that does not exist yet or is empty.
        method: whose predictions; None: the final method's.
        link: link to the images instead of copying them.

    Returns:
        How many images were written.

    Raises:
        NolaError: `out` does not fit the format, or the data set has not been run.
    """
    form = FORMATS[to]
    check_place(out, suffix=form.suffix, to=to)
    if link and not form.links:
        able = ", ".join(name for name, one in FORMATS.items() if one.links)
        raise NolaError(f"--link goes with the formats that keep images as files ({able}); {to} does not.")
    module = import_module(f"nola_core.exports.{form.module}")
    write: Callable[..., int] = module.write
    predicted = Predicted.open(root, dataset, method)
    if form.suffix:
        return write(predicted, out)
    with replacing(out) as scratch:
        count = write(predicted, scratch, link=link)
        if hasattr(module, "readme"):
            (scratch / "README.md").write_text(module.readme(predicted, out.absolute()), encoding="utf-8")
    return count


def check_place(out: Path, *, suffix: str, to: str) -> None:
    """Refuse a place that an export cannot or should not write to.

    Raises:
        NolaError: a file with another suffix, or a folder that holds something.
    """
    if suffix:
        if out.suffix.lower() != suffix:
            raise NolaError(f"{out}: --to {to} writes a file whose name ends in {suffix}.")
        if out.is_dir():
            raise NolaError(f"{out} is a folder; name a file.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NolaError(f"{out} exists already; --to {to} writes a new folder, so choose another name.")
