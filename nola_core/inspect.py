"""Look into what the stages wrote.

    python -m nola_core.inspect features digits --role ssl --class seven      # a page of a feature store
    python -m nola_core.inspect pseudo-labels digits --class seven --selected # what was taken for a seven, and why
    python -m nola_core.inspect descriptions digits --class seven             # what CLIP was told about sevens
    python -m nola_core.inspect predictions digits --csv digits.csv           # what every image is, as a table for elsewhere
    python -m nola_core.inspect similar digits IMAGE_ID --sheet similar.png   # the images most like this one
    python -m nola_core.inspect contact-sheet digits --class seven            # a PNG of the selected sevens

No command reads ground truth: a class is always the class that was predicted or described.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nola_core import files
from nola_core.datasets.opener import image_opener
from nola_core.errors import NolaError
from nola_core.evaluation import SPLITS, final_method
from nola_core.features import FeatureStore
from nola_core.neighbors import search
from nola_core.report.contact_sheet import contact_sheet, save_sheet
from nola_core.report.style import NEUTRAL, percent

ROLES = ("clip", "ssl")
SHOWN_VALUES = 6
"""How many values of a feature row are printed."""
COMPARED_NAMES = 20_000
"""Beyond this many names the search for similar ones looks at the first alone; it takes seconds per 100,000."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 1 and one sentence on stderr when a name is wrong or a file is missing."""
    arguments = _parser().parse_args(argv)
    show: Callable[[argparse.Namespace, Console], None] = arguments.show
    try:
        show(arguments, Console())
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def features(arguments: argparse.Namespace, console: Console) -> None:
    """Print a page of a feature store, all splits or one.

    `--class` keeps what the final method predicts to be of that class (CDE, before the final method has run).
    """
    folder = dataset_folder(arguments.root, arguments.dataset)
    splits = _splits(folder, arguments.role)
    if arguments.split is not None:
        splits = [_known(arguments.split, splits, "split")]
    stores = {split: FeatureStore.open(folder / "features" / arguments.role / split) for split in splits}
    for split, store in stores.items():
        meta = store.meta
        console.print(
            f"{split}: {meta['count']:,} x {meta['dim']} {meta['dtype']}; {meta['model']}, weights {meta['weights']}, "
            f"sha256 {str(meta['weights_sha256'])[:12]}",
            highlight=False,
            markup=False,
        )
    table = pd.concat([store.index.assign(split=split) for split, store in stores.items()], ignore_index=True)
    table = table[["image_id", "split", "row"]]
    predicted = _predicted(folder)
    if predicted is not None:
        table["predicted"] = table["image_id"].map(predicted)
    if arguments.class_name is not None:
        if predicted is None:
            raise NolaError(f"{folder} has no predictions yet, so --class cannot filter: run the stage classify first.")
        table = table[table["predicted"] == class_name(folder, arguments.class_name)]
    table = _of_image(table, arguments.image)
    whole, table = len(table), table.iloc[arguments.offset : arguments.offset + arguments.rows]
    values = [stores[split].features[row].astype(np.float32) for split, row in zip(table["split"], table["row"], strict=True)]
    table = table.assign(norm=[f"{np.linalg.norm(row):.3f}" for row in values])
    table[f"first {SHOWN_VALUES} values"] = [" ".join(f"{value:+.3f}" for value in row[:SHOWN_VALUES]) for row in values]
    _print(console, table, arguments.offset, whole)


def pseudo_labels(arguments: argparse.Namespace, console: Console) -> None:
    """Print a page of the table of candidates, best rank first inside each class."""
    folder = dataset_folder(arguments.root, arguments.dataset)
    table = _candidates(folder, arguments.class_name, arguments.selected)
    table = _of_image(table, arguments.image)
    for column in ("confidence", "margin"):
        table[column] = [f"{value:.3f}" for value in table[column]]
    table["selected"] = table["selected"].map({True: "yes", False: "no"})
    columns = ["image_id", "class", "rank", "confidence", "margin", "selected", "why"]
    page = table[columns].iloc[arguments.offset : arguments.offset + arguments.rows]
    _print(console, page, arguments.offset, len(table))


def descriptions(arguments: argparse.Namespace, console: Console) -> None:
    """Print a page of the descriptions; with the scores of `classify`, if it has run, best margin first inside each class."""
    folder = dataset_folder(arguments.root, arguments.dataset)
    table = files.read_table(folder / "descriptions.parquet")
    columns, judged = ["class", "text", "prompt", "provider", "model"], table.head(0)
    if table.empty:
        console.print("no class descriptions: templates alone")
        return
    if (folder / "description_quality.parquet").is_file():
        scores = files.read_table(folder / "description_quality.parquet").drop(columns="class")
        judged = table.merge(scores, on=["class_id", "text"])
        if len(judged) < len(table):
            console.print("descriptions are newer than their scores: run the stage classify", highlight=False)
    if len(judged) == len(table):
        table = judged.sort_values(["class_id", "margin"], ascending=[True, False])
        table["margin"] = [f"{value:+.3f}" for value in table["margin"]]
        table["note"] = [_note(row) for row in table.to_dict("records")]
        columns = ["class", "margin", "text", "note", "provider"]
    if arguments.class_name is not None:
        table = table[table["class"] == class_name(folder, arguments.class_name)]
    _print(console, table[columns].iloc[arguments.offset : arguments.offset + arguments.rows], arguments.offset, len(table))


def _note(row: Mapping[Hashable, Any]) -> str:
    """What there is to say against a description; empty if nothing."""
    notes = {
        f"cut off, {row['tokens']} tokens": row["truncated"],
        "repeats another": row["repeats"],
        "does not name its class": not row["names_own"],
        f"names {', '.join(row['names_others'])}": len(row["names_others"]),
        f"nearer to {row['rival']}": row["own_cosine"] <= row["rival_cosine"],
        "not used": not row["kept"],
    }
    return "; ".join(note for note, applies in notes.items() if applies)


def predictions(arguments: argparse.Namespace, console: Console) -> None:
    """Print a page of what every image is by one method, the final one unless told, or write all of it to a CSV file."""
    folder = dataset_folder(arguments.root, arguments.dataset)
    table = files.read_table(folder / "predictions.parquet", ["image_id", "split", "method", "class_id", "probability"])
    methods = list(table["method"].unique())
    method = final_method(methods) if arguments.method is None else _known(arguments.method, methods, "method")
    table = table[table["method"] == method]
    table = table.assign(**{"class": table["class_id"].map(_names(folder))})
    if arguments.class_name is not None:
        table = table[table["class"] == class_name(folder, arguments.class_name)]
    table = _of_image(table, arguments.image)[["image_id", "split", "class", "probability"]]
    if arguments.csv is not None:
        with files.replacing(arguments.csv) as scratch:
            table.to_csv(scratch, index=False, float_format="%.4f")
        console.print(f"{len(table):,} predictions by {method}: {arguments.csv}", highlight=False, markup=False, soft_wrap=True)
        return
    table["probability"] = [f"{value:.3f}" for value in table["probability"]]
    _print(console, table.iloc[arguments.offset : arguments.offset + arguments.rows], arguments.offset, len(table))


def similar(arguments: argparse.Namespace, console: Console) -> None:
    """Print the images of all splits most like one image by the cosine of their features, the image itself left out."""
    folder = dataset_folder(arguments.root, arguments.dataset)
    splits = _splits(folder, arguments.role)
    stores = [FeatureStore.open(folder / "features" / arguments.role / split) for split in splits]
    ids = pd.concat([store.index["image_id"] for store in stores], ignore_index=True).to_numpy()
    split_of = np.repeat(splits, [len(store.index) for store in stores])
    gallery = np.concatenate([store.normalized() for store in stores])
    own = int(np.flatnonzero(ids == _known(arguments.image_id, list(ids), "image"))[0])
    similarity, index = search(gallery, gallery[own : own + 1], min(arguments.count + 1, len(ids)))
    found = [(int(row), float(value)) for row, value in zip(index[0], similarity[0], strict=True) if row != own]
    found = found[: arguments.count]
    table = pd.DataFrame(
        {
            "image_id": [str(ids[row]) for row, _ in found],
            "split": [str(split_of[row]) for row, _ in found],
            "similarity": [f"{value:.4f}" for _, value in found],
        }
    )
    predicted = _predicted(folder)
    if predicted is not None:
        table["predicted"] = table["image_id"].map(predicted)
    _print(console, table, 0, len(table))
    if arguments.sheet is not None:
        image_of = image_opener(arguments.root, arguments.dataset)
        shown = [str(ids[own]), *table["image_id"]]
        captions = ["this one", *table["similarity"]]
        _save_sheet(console, shown, captions, image_of, arguments.sheet)


def sheet(arguments: argparse.Namespace, console: Console) -> None:
    """Write a PNG of a class's selected pseudo-labels, most confident first, and print its path."""
    folder = dataset_folder(arguments.root, arguments.dataset)
    table = _candidates(folder, arguments.class_name, selected=True).head(arguments.count)
    if table.empty:
        raise NolaError(f"no pseudo-label of the class '{arguments.class_name}' was selected, so there is nothing to show.")
    name = str(table["class"].iloc[0])
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    captions = [f"{rank}. {percent(value, 0)}" for rank, value in zip(table["rank"], table["confidence"], strict=True)]
    out = arguments.out or Path(f"{arguments.dataset}-{safe}.png")
    _save_sheet(console, list(table["image_id"]), captions, image_opener(arguments.root, arguments.dataset), out)


def dataset_folder(root: Path, dataset: str) -> Path:
    """`root/data/<dataset>`.

    Raises:
        NolaError: nothing was prepared there; names the data sets that were.
    """
    prepared = sorted(path.parent.name for path in (root / "data").glob("*/manifest.parquet"))
    if not prepared:
        raise NolaError(f"{root / 'data'} holds no prepared data set yet: run the pipeline, or give --root.")
    return root / "data" / _known(dataset, prepared, "data set")


def class_name(folder: Path, wanted: str) -> str:
    """The class of that name or display name, in any case.

    Raises:
        NolaError: there is none; names the nearest.
    """
    classes = files.read_table(folder / "classes.parquet")
    for column in ("name", "display_name"):
        hits = classes.loc[classes[column].str.casefold() == wanted.casefold(), "name"].tolist()
        if hits:
            return wanted if wanted in hits else str(hits[0])
    return _known(wanted, list(classes["name"]), "class")


def _known(wanted: str, names: Sequence[str], kind: str) -> str:
    """`wanted`, if it is one of `names`; else an error with what is near and how many there are."""
    if wanted in names:
        return wanted
    some = list(names[:COMPARED_NAMES])
    near = difflib.get_close_matches(wanted, some, n=5, cutoff=0.4) or [name for name in some if wanted in name][:5]
    if len(names) <= 12:
        hint = f"there are: {', '.join(names)}"
    elif near:
        hint = f"nearest of {len(names):,}: {', '.join(near)}"
    else:
        hint = f"there are {len(names):,}, such as {', '.join(names[:3])}"
    raise NolaError(f"there is no {kind} '{wanted}'; {hint}.")


def _splits(folder: Path, role: str) -> list[str]:
    """The splits that have a feature store, train first."""
    found = {path.parent.name for path in (folder / "features" / role).glob("*/meta.json")}
    if not found:
        raise NolaError(f"{folder / 'features' / role} holds no feature store: run the stage embed with --role {role}.")
    return [split for split in SPLITS if split in found]


def _predicted(folder: Path) -> pd.Series[str] | None:
    """Class name by image id: by the final method, or by CDE where only `classify` has run; None before that."""
    for file, method in (("predictions.parquet", None), ("zero_shot.parquet", "cde")):
        if (folder / file).is_file():
            table = files.read_table(folder / file, ["image_id", "method", "class_id"])
            mine = table[table["method"] == (method or final_method(table["method"]))]
            return mine.set_index("image_id")["class_id"].map(_names(folder))
    return None


def _names(folder: Path) -> pd.Series[str]:
    return files.read_table(folder / "classes.parquet").set_index("class_id")["name"]


def _candidates(folder: Path, wanted: str | None, selected: bool) -> pd.DataFrame:
    """The table of pseudo-labels with the name of each `class`, of one class or all, in order of class and rank."""
    table = files.read_table(folder / "pseudo_labels.parquet").sort_values(["class_id", "rank"], ignore_index=True)
    table["class"] = table["class_id"].map(_names(folder))
    if wanted is not None:
        table = table[table["class"] == class_name(folder, wanted)]
    return table[table["selected"]] if selected else table


def _of_image(table: pd.DataFrame, image_id: str | None) -> pd.DataFrame:
    if image_id is None:
        return table.copy()
    return table[table["image_id"] == _known(image_id, list(table["image_id"]), "image")].copy()


def _print(console: Console, page: pd.DataFrame, offset: int, whole: int) -> None:
    """A page of a table of `whole` rows, and where it lies in it."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in page.columns:
        right = column in ("row", "rank", "norm", "confidence", "margin", "probability", "similarity")
        shown.add_column(str(column), justify="right" if right else "left", overflow="fold")
    for values in page.itertuples(index=False):
        shown.add_row(*(Text(str(value)) for value in values))
    console.print(shown)
    last = offset + len(page)
    where = f"rows {offset + 1:,} to {last:,} of {whole:,}" if len(page) else f"no rows from {offset + 1:,} on, of {whole:,}"
    console.print(where + (f"; next: --offset {last}" if len(page) and last < whole else ""), style="dim", highlight=False)


def _save_sheet(
    console: Console, ids: Sequence[str], captions: Sequence[str], image_of: Callable[[str], Image.Image], out: Path
) -> None:
    """Write the contact sheet of some images to `out` and print that path."""
    made = contact_sheet([image_of(image_id) for image_id in ids], captions, [NEUTRAL] * len(ids), min(8, len(ids)))
    with files.replacing(out) as scratch:
        save_sheet(made, scratch)
    console.print(str(out), highlight=False, markup=False, soft_wrap=True)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nola_core.inspect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, show: Callable[[argparse.Namespace, Console], None], purpose: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=purpose, description=purpose)
        made.add_argument("dataset", help="a folder under data/")
        made.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
        made.set_defaults(show=show)
        return made

    def page(made: argparse.ArgumentParser, rows: int) -> None:
        made.add_argument("--rows", type=_at_least(1), default=rows, help=f"how many rows (default: {rows})")
        made.add_argument("--offset", type=_at_least(0), default=0, help="the first row, from 0")

    made = command("features", features, "print a page of a feature store")
    made.add_argument("--role", choices=ROLES, required=True)
    made.add_argument("--split", help="one split (default: all)")
    made.add_argument("--class", dest="class_name", help="images predicted to be of this class")
    made.add_argument("--image", help="one image id")
    page(made, 20)

    made = command(
        "pseudo-labels", pseudo_labels, "print a page of the pseudo-labels: every candidate and why it was taken or not"
    )
    made.add_argument("--class", dest="class_name", help="candidates of this class")
    made.add_argument("--image", help="one image id")
    made.add_argument("--selected", action="store_true", help="the selected ones alone")
    page(made, 20)

    made = command("descriptions", descriptions, "print a page of the class descriptions and how well each separates its class")
    made.add_argument("--class", dest="class_name", help="those of this class")
    page(made, 40)

    made = command("predictions", predictions, "print a page of the predictions, or write them to a CSV file")
    made.add_argument("--class", dest="class_name", help="images predicted to be of this class")
    made.add_argument("--image", help="one image id")
    made.add_argument("--method", help="whose predictions (default: those of the final method)")
    made.add_argument("--csv", type=Path, help="write image_id, split, class, probability of all of them to this file")
    page(made, 20)

    made = command("similar", similar, "print the images most like one image")
    made.add_argument("image_id")
    made.add_argument("--role", choices=ROLES, default="ssl", help="whose features to compare (default: ssl)")
    made.add_argument("--count", type=_at_least(1), default=10)
    made.add_argument("--sheet", type=Path, help="write their pictures to this PNG file")

    made = command("contact-sheet", sheet, "write a PNG of a class's selected pseudo-labels")
    made.add_argument("--class", dest="class_name", required=True)
    made.add_argument("--count", type=_at_least(1), default=40, help="at most this many, most confident first (default: 40)")
    made.add_argument("--out", type=Path, help="the PNG file (default: ./<dataset>-<class>.png)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
