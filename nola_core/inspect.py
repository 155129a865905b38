"""Look at what the stages wrote: pages of tables, similar images, contact sheets. `nola inspect` prints them.

Nothing here reads ground truth: a class is always the predicted or described class.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nola_core import files, inputs
from nola_core.corrections import NO_CLASS, NONE
from nola_core.errors import NolaError
from nola_core.evaluation import SPLITS
from nola_core.features import FeatureStore
from nola_core.lookup import dataset_folder, known
from nola_core.prediction import Predictions
from nola_core.trust import ranking

SHOWN_VALUES = 6
"""How many values of a feature row are shown."""


@dataclass(frozen=True)
class Page:
    """Rows `offset` to `offset + len(table)` of a table with `whole` rows."""

    table: pd.DataFrame
    offset: int
    whole: int
    notes: tuple[str, ...] = ()
    """What applies to the whole table, a sentence each."""


def features(
    root: Path,
    dataset: str,
    *,
    role: str,
    split: str | None = None,
    class_name: str | None = None,
    image_id: str | None = None,
    rows: int | None = None,
    offset: int = 0,
) -> Page:
    """Rows of a feature store: `image_id, split, row, predicted, norm, first_values`.

    Args:
        root: the project's folder.
        dataset: its name.
        role: `clip` or `ssl`.
        split: one split; all of them if None.
        class_name: images that the final method predicts to be of this class (the text classifier, before `predict` has run).
        image_id: one image.
        rows: at most this many; all if None.
        offset: the first row, starting at 0.

    Raises:
        NolaError: a name is unknown, or a stage has not run yet.
    """
    folder = dataset_folder(root, dataset)
    splits = _splits(folder, role)
    if split is not None:
        splits = [known(split, splits, "split")]
    stores = {name: FeatureStore.open(folder / "features" / role / name) for name in splits}
    notes = [
        f"{name}: {meta['count']:,} x {meta['dim']} {meta['dtype']}; {meta['model']}, weights {meta['weights']}, "
        f"sha256 {str(meta['weights_sha256'])[:12]}"
        for name, meta in ((name, store.meta) for name, store in stores.items())
    ]
    table = pd.concat([store.index.assign(split=name) for name, store in stores.items()], ignore_index=True)
    table = table[["image_id", "split", "row"]]
    predicted = _predicted(root, dataset)
    if predicted is not None:
        table["predicted"] = table["image_id"].map(predicted)
    if class_name is not None:
        if predicted is None:
            raise NolaError(f"{folder} has no predictions yet, so no class can be chosen: run the stage classify first.")
        table = table[table["predicted"] == find_class(folder, class_name)]
    page = _page(_of_image(table, image_id), rows, offset, notes)
    values = [
        stores[name].features[row].astype(np.float32) for name, row in zip(page.table["split"], page.table["row"], strict=True)
    ]
    shown = page.table.assign(norm=[float(np.linalg.norm(row)) for row in values])
    shown["first_values"] = [row[:SHOWN_VALUES].tolist() for row in values]
    return Page(shown, page.offset, page.whole, page.notes)


def pseudo_labels(
    root: Path,
    dataset: str,
    *,
    class_name: str | None = None,
    image_id: str | None = None,
    selected: bool = False,
    rows: int | None = None,
    offset: int = 0,
) -> Page:
    """The pseudo-label candidates, best rank first within each class: `image_id, class, rank, confidence, margin, selected, why`.

    Args and errors as of `features`; with `selected`, only those that were selected.
    """
    folder = dataset_folder(root, dataset)
    table = _of_image(_candidates(folder, class_name, selected), image_id)
    columns = ["image_id", "class", "rank", "confidence", "margin", "selected", "why"]
    return _page(table[columns], rows, offset)


def descriptions(root: Path, dataset: str, *, class_name: str | None = None, rows: int | None = None, offset: int = 0) -> Page:
    """The descriptions: `class, margin, text, note, provider`, best margin first within each class.

    Before `classify` has scored them: `class, text, prompt, provider, model`. Args and errors as of `features`.
    """
    folder = dataset_folder(root, dataset)
    table = files.read_table(folder / "descriptions.parquet")
    columns, notes = ["class", "text", "prompt", "provider", "model"], []
    scores = folder / "description_quality.parquet"
    if table.empty:
        notes.append("no class descriptions; only templates are used")
    elif scores.is_file():
        judged = table.merge(files.read_table(scores).drop(columns="class"), on=["class_id", "text"])
        if len(judged) < len(table):
            notes.append("the descriptions are newer than their scores; run the stage classify")
        else:
            table = judged.sort_values(["class_id", "margin"], ascending=[True, False])
            table["note"] = [_note(row) for row in table.to_dict("records")]
            columns = ["class", "margin", "text", "note", "provider"]
    if class_name is not None:
        table = table[table["class"] == find_class(folder, class_name)]
    return _page(table[columns], rows, offset, notes)


def predictions(
    root: Path,
    dataset: str,
    *,
    method: str | None = None,
    class_name: str | None = None,
    image_id: str | None = None,
    rows: int | None = None,
    offset: int = 0,
) -> Page:
    """The predictions of one method, the final one if None: `image_id, split, class, probability`.

    A corrected image has its given class, and the column `corrected` says so; it is there only where people corrected images.

    Args and errors as for `features`.
    """
    folder = dataset_folder(root, dataset)
    table = files.read_table(folder / "predictions.parquet", ["image_id", "split", "method", "class_id", "probability"])
    methods = list(table["method"].unique())
    method = final_method(root, dataset, methods) if method is None else known(method, methods, "method")
    table = table[table["method"] == method]
    table = table.assign(**{"class": table["class_id"].map(_names(folder))})
    columns, given = ["image_id", "split", "class", "probability"], Predictions.open(folder / "predictions.parquet").given()
    if given:
        said = table["image_id"].map(given)
        named = said.map({**_names(folder).to_dict(), NO_CLASS: NONE})
        table = table.assign(
            **{"class": named.fillna(table["class"])},
            probability=table["probability"].where(said.isna(), (said != NO_CLASS).astype("float32")),
            corrected=np.where(said.notna(), "yes", ""),
        )
        columns.append("corrected")
    if class_name is not None:
        table = table[table["class"] == find_class(folder, class_name)]
    table = _of_image(table, image_id)[columns]
    return _page(table, rows, offset, [f"predictions by {method}"])


def signals(root: Path, dataset: str) -> Page:
    """The signals that need no label: `split, method, neighbors_clip, neighbors_ssl, answer_nuclear_norm, ..., images`.

    Raises:
        NolaError: `predict` has not run yet.
    """
    found = files.read_json(dataset_folder(root, dataset) / "label_free.json")
    rows = [{"split": split, "method": name, **one} for split, methods in found.items() for name, one in methods.items()]
    return _page(pd.DataFrame(rows), None, 0, ["no signal is an accuracy", *map(ranking.sentence, ranking.RANKED)])


def unknown(
    root: Path,
    dataset: str,
    *,
    class_name: str | None = None,
    image_id: str | None = None,
    group: int | None = None,
    rows: int | None = None,
    offset: int = 0,
) -> Page:
    """The images by how little they fit any name, least first: `image_id, split, score, class, probability, group`.

    `class` is the nearest name. Args and errors as for `features`; with `group`, only the images of a group.
    """
    from nola_core.trust.groups import sentence

    folder = dataset_folder(root, dataset)
    table = files.read_table(folder / "unknown.parquet").sort_values("score", ascending=False, kind="stable")
    table["class"], table["group"] = table["class_id"].map(_names(folder)), table["group"].astype("Int64")
    listed = files.read_table(folder / "unknown_groups.parquet", ["group", "images"])
    if group is not None:
        if group not in set(listed["group"]):
            raise NolaError(f"there is no group {group}; {dataset} has {len(listed)}, numbered from 1.")
        table = table[table["group"] == group]
    if class_name is not None:
        table = table[table["class"] == find_class(folder, class_name)]
    table = _of_image(table, image_id)[["image_id", "split", "score", "class", "probability", "group"]]
    return _page(table, rows, offset, [sentence(listed)])


def names(root: Path, dataset: str, *, absent: bool = False, rows: int | None = None, offset: int = 0) -> Page:
    """The names by their estimated share of the images, least first: `class, predicted, proportion, absent`.

    Args and errors as for `features`; with `absent`, only names that seem not to occur.
    """
    from nola_core.trust.proportions import sentence

    table = files.read_table(dataset_folder(root, dataset) / "class_proportions.parquet")
    said = sentence(table) or "every name seems to occur"
    table = table.sort_values("proportion", kind="stable")
    table = table[table["absent"]] if absent else table
    return _page(table[["class", "predicted", "proportion", "absent"]], rows, offset, [said])


def similar(root: Path, dataset: str, image_id: str, *, role: str = "ssl", count: int = 10, sheet: Path | None = None) -> Page:
    """The images of all splits most similar to one, by the cosine of their features: `image_id, split, similarity, predicted`.

    The image itself is left out. `sheet` is a PNG file to draw it and them into.

    Raises:
        NolaError: a name is unknown, or a stage has not run yet.
    """
    from nola_core.neighbors import search

    folder = dataset_folder(root, dataset)
    splits = _splits(folder, role)
    stores = [FeatureStore.open(folder / "features" / role / split) for split in splits]
    ids = pd.concat([store.index["image_id"] for store in stores], ignore_index=True).to_numpy()
    split_of = np.repeat(splits, [len(store.index) for store in stores])
    gallery = np.concatenate([store.normalized() for store in stores])
    own = int(np.flatnonzero(ids == known(image_id, list(ids), "image"))[0])
    similarity, index = search(gallery, gallery[own : own + 1], min(count + 1, len(ids)))
    found = [(int(row), float(value)) for row, value in zip(index[0], similarity[0], strict=True) if row != own][:count]
    table = pd.DataFrame(
        {
            "image_id": [str(ids[row]) for row, _ in found],
            "split": [str(split_of[row]) for row, _ in found],
            "similarity": [value for _, value in found],
        }
    )
    predicted = _predicted(root, dataset)
    if predicted is not None:
        table["predicted"] = table["image_id"].map(predicted)
    if sheet is not None:
        captions = ["this image", *(f"{value:.4f}" for value in table["similarity"])]
        _save_sheet(root, dataset, [str(ids[own]), *table["image_id"]], captions, sheet)
    return _page(table, None, 0)


def contact_sheet(root: Path, dataset: str, *, class_name: str, count: int = 40, out: Path | None = None) -> Path:
    """A PNG of a class's selected pseudo-labels, most confident first, at `out` or `./<dataset>-<class>.png`; its path.

    Raises:
        NolaError: a name is unknown, nothing was selected, or a stage has not run yet.
    """
    from nola_core.report.style import percent  # loads Matplotlib, which tables do not need

    table = _candidates(dataset_folder(root, dataset), class_name, selected=True).head(count)
    if table.empty:
        raise NolaError(
            f"no pseudo-label of the class '{class_name}' was selected, so there is nothing to draw; choose another class."
        )
    name = str(table["class"].iloc[0])
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    captions = [f"{rank}. {percent(value, 0)}" for rank, value in zip(table["rank"], table["confidence"], strict=True)]
    out = out or Path(f"{dataset}-{safe}.png")
    _save_sheet(root, dataset, list(table["image_id"]), captions, out)
    return out


def find_class(folder: Path, wanted: str) -> str:
    """The class with that name or display name, ignoring case.

    Raises:
        NolaError: there is none; the message lists similar names.
    """
    classes = files.read_table(folder / "classes.parquet")
    for column in ("name", "display_name"):
        hits = classes.loc[classes[column].str.casefold() == wanted.casefold(), "name"].tolist()
        if hits:
            return wanted if wanted in hits else str(hits[0])
    return known(wanted, list(classes["name"]), "class")


def _page(table: pd.DataFrame, rows: int | None, offset: int, notes: Sequence[str] = ()) -> Page:
    last = None if rows is None else offset + rows
    return Page(table.iloc[offset:last].reset_index(drop=True), offset, len(table), tuple(notes))


def _note(row: Mapping[Hashable, Any]) -> str:
    """What is wrong with a description; empty if nothing."""
    notes = {
        f"cut off, {row['tokens']} tokens": row["truncated"],
        "repeats another": row["repeats"],
        "does not name its class": not row["names_own"],
        f"names {', '.join(row['names_others'])}": len(row["names_others"]),
        f"closer to {row['rival']}": row["own_cosine"] <= row["rival_cosine"],
        "not used": not row["kept"],
    }
    return "; ".join(note for note, applies in notes.items() if applies)


def _splits(folder: Path, role: str) -> list[str]:
    """The splits that have a feature store, train first."""
    found = {path.parent.name for path in (folder / "features" / role).glob("[!.]*/meta.json")}
    if not found:
        raise NolaError(f"{folder / 'features' / role} has no feature store; run the stage embed with --role {role}.")
    return [split for split in SPLITS if split in found]


def _predicted(root: Path, dataset: str) -> pd.Series[str] | None:
    """Class name by image id: by the final method, or by the text classifier where only `classify` has run; None before that."""
    folder = dataset_folder(root, dataset)
    columns = ["image_id", "method", "class_id"]
    if (folder / "predictions.parquet").is_file():
        table = files.read_table(folder / "predictions.parquet", columns)
        table = table[table["method"] == final_method(root, dataset, list(table["method"].unique()))]
    elif (folder / "zero_shot.parquet").is_file():
        table = files.read_table(folder / "zero_shot.parquet", columns)
    else:
        return None
    return table.set_index("image_id")["class_id"].map(_names(folder))


def final_method(root: Path, dataset: str, methods: Sequence[str]) -> str:
    """The final method, which must be one of those that predicted."""
    entry = inputs.read(root, dataset, "predict").values
    if "final" not in entry:  # of an earlier version
        raise NolaError(f"{root / inputs.FOLDER / dataset}.json does not name the final method; `nola run` writes it anew.")
    final = str(entry["final"])
    if final not in methods:
        raise NolaError(
            f"{root / 'data' / dataset / 'predictions.parquet'} has no predictions by the final method, {final}; "
            "run the stage predict again."
        )
    return final


def _names(folder: Path) -> pd.Series[str]:
    return files.read_table(folder / "classes.parquet").set_index("class_id")["name"]


def _candidates(folder: Path, wanted: str | None, selected: bool) -> pd.DataFrame:
    """The table of pseudo-labels with class names, for one class or all, sorted by class and rank."""
    table = files.read_table(folder / "pseudo_labels.parquet").sort_values(["class_id", "rank"], ignore_index=True)
    table["class"] = table["class_id"].map(_names(folder))
    if wanted is not None:
        table = table[table["class"] == find_class(folder, wanted)]
    return table[table["selected"]] if selected else table


def _of_image(table: pd.DataFrame, image_id: str | None) -> pd.DataFrame:
    if image_id is None:
        return table
    return table[table["image_id"] == known(image_id, list(table["image_id"]), "image")]


def _save_sheet(root: Path, dataset: str, ids: Sequence[str], captions: Sequence[str], out: Path) -> None:
    """Write the contact sheet of some images to `out`."""
    from nola_core.datasets.opener import image_opener
    from nola_core.report.contact_sheet import contact_sheet as draw
    from nola_core.report.contact_sheet import save_sheet
    from nola_core.report.style import NEUTRAL

    image_of = image_opener(root, dataset)
    sheet = draw([image_of(image_id) for image_id in ids], captions, [NEUTRAL] * len(ids), min(8, len(ids)))
    with files.replacing(out) as scratch:
        save_sheet(sheet, scratch)
