"""Unknown scores, groups of unknown images and absent names on the beds of benchmarks/beds.py, from cached features.

    python -m benchmarks.beds                 # once: embed digits and the photographs
    python -m benchmarks.unknown              # every score, group and name on every cell, and the tables of unknown.md
    python -m benchmarks.unknown --beds digits --seeds 0
    python -m benchmarks.unknown --page       # run nothing; write the tables again

Rows are appended to unknown-cells.csv, unknown-groups.csv and absent-names.csv in benchmarks/results; delete them to start anew.

results/unknown-protocol.md says what the cells are and how the default was chosen. Scores see no label.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import beds, photographs
from benchmarks.methods import run
from benchmarks.methods_page import markdown
from nola_core.algebra import posterior
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.backbones.ssl import load_encoder
from nola_core.datasets.opener import image_opener
from nola_core.extraction import encode, loaded_batches
from nola_core.files import read_table, replacing
from nola_core.methods.collection import Texts, probabilities
from nola_core.methods.method import Fitted
from nola_core.neighbors import Gallery
from nola_core.prediction import TOP, top
from nola_core.stages.paths import Paths
from nola_core.text_classifier import fill
from nola_core.trust import groups, proportions, unknown

RESULTS = Path(__file__).parent / "results"
FOREIGN_CACHE = photographs.ROOT / ".nola" / "unknown"
METHODS = ("alignment", "evidence")
FILES = ("unknown-cells.csv", "unknown-groups.csv", "absent-names.csv")
Row = dict[str, Any]
BEGIN, END = "<!-- tables: written by benchmarks/unknown.py -->", "<!-- end of tables -->"
HELD_BACK = 1 / 3
NO = ("a photo without a {}.", "a photo with no {}.", "there is no {} in the photo.")
NEIGHBORS = 10
FOREIGN = {"caltech101": "cifar10", "cifar10": "caltech101"}
FOREIGN_IMAGES = 500
"""Of each split."""
SHARED = {  # classes that the other bed has a name for, by the words of their names
    "cifar10": ("airplane", "automobile", "bird", "cat", "dog", "ship"),
    "caltech101": ("airplane", "car side", "motorbike", "ketch", "schooner", "ferry", "cougar", "leopard", "wild cat", "garfield",
                   "dalmatian", "snoopy", "emu", "flamingo", "ibis", "pigeon", "rooster"),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A bed in which some images belong to no name.

    Attributes:
        kind: `held back` or `foreign`.
        train: labels are those of the bed's names, -1 for unknown images; likewise `test`.
    """

    bed: beds.Bed
    kind: str
    seed: int
    train: beds.Part
    test: beds.Part

    @cached_property
    def draw(self) -> beds.Draw:
        """As methods are fitted on it."""
        return beds.Draw(self.bed, self.kind, self.seed, self.bed.collection(self.train), self.train, self.test)


def held_back(bed: beds.Bed, seed: int) -> Cell:
    """A third of the classes without their names."""
    names = bed.texts.names
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    kept = np.sort(order[round(HELD_BACK * len(names)) :])
    number = np.full(len(names), -1)
    number[kept] = np.arange(len(kept))
    texts = bed.texts
    fewer = Texts(
        [names[one] for one in kept],
        [texts.templates[one] for one in kept],
        [texts.descriptions[one] for one in kept],
        texts.encode,
        texts.logit_scale,
        texts.patterns,
    )
    train, test = (replace(part, labels=number[part.labels]) for part in bed.split(seed))
    return Cell(replace(bed, texts=fewer), "held back", seed, train, test)


def foreign(bed: beds.Bed, seed: int) -> Cell:
    """With images of another bed."""
    visitors = visiting(bed.name)
    order = np.random.default_rng([seed, 2]).permutation(len(visitors.labels))
    parts = []
    for number, part in enumerate(bed.split(seed)):
        mine = visitors.taken(order[number * FOREIGN_IMAGES : (number + 1) * FOREIGN_IMAGES])
        rows = {name: np.concatenate([part.spaces[name], mine.spaces[name]]) for name in part.spaces}
        parts.append(beds.Part(rows, np.concatenate([part.labels, np.full(len(mine.labels), -1)])))
    return Cell(bed, "foreign", seed, *parts)


@lru_cache
def visiting(name: str) -> beds.Part:
    """Images of the other bed, embedded by this bed's towers at this bed's size; labels -1."""
    other, file = FOREIGN[name], FOREIGN_CACHE / f"{name}.npz"
    if not file.is_file():
        paths = Paths(beds.CACHE, other)
        classes = read_table(paths["classes.parquet"])
        shared = [any(word in str(one).lower().replace("_", " ") for word in SHARED[other]) for one in classes["name"]]
        named = set(classes.loc[shared, "class_id"])
        print(f"{other} visits {name} without {', '.join(classes.loc[shared, 'name'])}")
        labels = read_table(paths["labels.parquet"]).sort_values("image_id", ignore_index=True)
        others = labels.loc[~labels["class_id"].isin(named), "image_id"].tolist()
        ids = [others[row] for row in np.random.default_rng(3).permutation(len(others))[: 2 * FOREIGN_IMAGES]]
        pair = load_pair(yaml.safe_load((beds.CACHE / "data" / f"{name}.yaml").read_text())["backbones"])
        towers = {"clip": load_clip(pair.clip, root=beds.CACHE).image, "ssl": load_encoder(pair.ssl, root=beds.CACHE)}
        batches, rows = [ids[start : start + 64] for start in range(0, len(ids), 64)], {}
        for role, tower in towers.items():
            loaded = loaded_batches(batches, tower.preprocess, image_opener(beds.CACHE, other))
            rows[role] = torch.cat([encode(tower, images, torch.device("cpu"), "float32") for _, images in loaded]).half().numpy()
        with replacing(file) as scratch, scratch.open("wb") as out:
            np.savez(out, clip=rows["clip"], ssl=rows["ssl"])
    with np.load(file) as held:
        spaces = {role: held[role] for role in ("clip", "ssl")}
    return beds.Part(spaces, np.full(len(spaces["clip"]), -1))


def scores(cell: Cell, fitted: Fitted) -> dict[str, dict[str, np.ndarray]]:
    """Split -> score -> value of every image, float32 [N]."""
    text, names, collection = posterior.classifier(cell.bed.text), cell.bed.texts.names, cell.draw.collection
    features = {split: cell.draw.features(split) for split in ("train", "test")}
    answers = {split: probabilities(fitted, features[split]) for split in features}
    if fitted.transduced is not None:
        answers["train"] = fitted.transduced
    best = {split: _best(answers[split]) for split in answers}
    means = unknown.Means(len(names), features["train"]["ssl"].shape[1])
    means.add(features["train"]["ssl"], *best["train"])
    chosen = torch.from_numpy(collection.positions(collection.pseudo_labels["image_id"]))
    class_ids = collection.pseudo_labels["class_id"].to_numpy(dtype="int64", copy=True)
    probe = unknown.Probe.fit(features["train"]["clip"][chosen].numpy(), class_ids, classes=len(names))
    assert probe is not None
    named = unknown.Means(len(names), features["train"]["ssl"].shape[1])
    named.add(features["train"]["ssl"][chosen], torch.from_numpy(class_ids)[:, None], torch.ones(len(class_ids), 1))
    no = None if cell.bed.name in beds.WHU else _denials(cell.bed)
    found: dict[str, dict[str, Tensor]] = {}
    for split, mine in features.items():
        logits, p = posterior.logits(text, mine["clip"]), unknown.spread(*best[split], len(names))
        found[split] = {
            "softmax_final": unknown.softmax(p),
            "softmax_text": unknown.softmax(logits.softmax(dim=1)),
            "energy": unknown.energy(logits),
            "ssl_means": unknown.from_means(mine["ssl"], means.result()),
            "ssl_pseudo_means": unknown.from_means(mine["ssl"], named.result()),
            "ssl_neighbors": unknown.from_neighbors(mine["ssl"], features["train"]["ssl"][chosen], NEIGHBORS),
            "averaged": unknown.averaged(p, logits.softmax(dim=1), probe.predict(mine["clip"])),
        }
        if no is not None:
            found[split]["no_texts"] = unknown.denied(logits, text.logit_scale * mine["clip"] @ no.T)
    values = {split: {name: one.numpy() for name, one in mine.items()} for split, mine in found.items()}
    for split in features:
        for other in ("means", "pseudo_means", "neighbors"):
            both = [unknown.percentiles(values["train"][name], values[split][name]) for name in ("averaged", f"ssl_{other}")]
            values[split][f"averaged_and_{other}"] = (both[0] + both[1]) / 2
    return values


def _best(p: Tensor) -> tuple[Tensor, Tensor]:
    """The classes and probabilities that a prediction table keeps."""
    values, columns = top(p, TOP)
    return columns.long(), values


def _denials(bed: beds.Bed) -> Tensor:
    """Mean embedding of the texts that deny a class, float32 [C, d]."""
    texts = fill(NO, bed.texts.names)
    rows = normalize(bed.texts.encode([text for mine in texts for text in mine]).float(), dim=1)
    return normalize(rows.view(len(texts), len(NO), -1).mean(dim=1), dim=1)


def measured(cell: Cell, method: str) -> tuple[list[Row], Row]:
    """Rows of unknown-cells.csv, none where every image has a name; and the row of unknown-groups.csv."""
    told: Row = {"dataset": cell.bed.name, "kind": cell.kind, "seed": cell.seed, "method": method}
    found = scores(cell, run(cell.draw, method, {})[0])
    rows: list[Row] = []
    for split, mine in found.items() if cell.kind != "all named" else ():
        truth = (cell.train if split == "train" else cell.test).labels < 0
        for score, values in mine.items():
            counts = {"images": len(truth), "unknown": int(truth.sum())}
            rows.append({**told, "split": split, "score": score, **counts, **curve(truth, values)})
    return rows, {**told, **grouped(cell, found)}


def grouped(cell: Cell, found: Mapping[str, Mapping[str, np.ndarray]]) -> Row:
    """The groups of train and test images together, against the classes they are of."""
    parts = {"train": cell.train, "test": cell.test}
    values = np.concatenate([found[split]["averaged"] for split in parts])
    unnamed = np.concatenate([part.labels for part in parts.values()]) < 0
    classes = np.concatenate([part.labels for part in cell.bed.split(cell.seed)])
    gallery = Gallery([part.spaces["ssl"] for part in parts.values()])
    ids = [str(image) for image in range(len(values))]
    group_of, table = groups.find(values, np.zeros(len(values), dtype=np.int32), ids, gallery, classes=len(cell.bed.texts.names))
    mine = [group_of == group for group in table["group"]]
    right = [one for one in mine if unnamed[one].mean() > 0.5]
    lost = set(np.unique(classes[unnamed])) if cell.kind == "held back" else set()
    met = {int(np.bincount(classes[one]).argmax()) for one in right} if lost else set()
    counts = {"groups": len(mine), "unnamed": len(right), "images": int((group_of > 0).sum())}
    return {**counts, "of_unnamed": int(unnamed[group_of > 0].sum()), "held_back": len(lost), "found": len(met & lost)}


def absent(bed: beds.Bed, seed: int) -> Iterator[Row]:
    """Rows of absent-names.csv: which names seem absent from the train images of a draw."""
    for variant in ("whole", "half", "quarter"):
        draw = bed.draw(variant, seed)
        gone = ~np.isin(np.arange(len(bed.texts.names)), draw.train.labels)
        for method in METHODS:
            fitted = run(draw, method, {})[0]
            p = fitted.transduced if fitted.transduced is not None else probabilities(fitted, draw.features("train"))
            columns, values = _best(p)
            said = proportions.table(columns.numpy(), values.numpy(), bed.texts.names)["absent"].to_numpy()
            counts = {"names": len(gone), "absent": int(gone.sum()), "said": int(said.sum()), "right": int((said & gone).sum())}
            yield {"dataset": bed.name, "variant": variant, "seed": seed, "method": method, **counts}


def curve(truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """AUROC, and the share of known images above the threshold that 95 % of the unknown ones reach; in percent."""
    false, true, _ = roc_curve(truth, values)
    fpr = float(false[np.argmax(true >= 0.95)])
    return {"auroc": round(100 * float(roc_auc_score(truth, values)), 2), "fpr95": round(100 * fpr, 2)}


def cells(bed: beds.Bed, seed: int) -> Iterator[Cell]:
    """All cells of a bed."""
    yield held_back(bed, seed)
    if bed.name in FOREIGN:
        yield foreign(bed, seed)
    yield Cell(bed, "all named", seed, *bed.split(seed))


def summary(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """A row a score: the mean over seeds and methods of every bed and kind, and the mean of these."""
    rows = rows.assign(cell=rows["dataset"] + rows["kind"].map({"held back": "", "foreign": ", foreign"}))
    order = list(dict.fromkeys(rows["cell"]))
    table = rows.pivot_table(index="score", columns="cell", values=value, aggfunc="mean")[order]
    table.insert(0, "mean", table.mean(axis=1))
    return table.sort_values("mean", ascending=value == "fpr95").round(1)


def tables(folder: Path = RESULTS) -> str:
    """The tables of unknown.md."""
    rows, listed, names = (pd.read_csv(folder / file) for file in FILES)
    lines: list[str] = []
    for split in ("test", "train"):
        for value, title in (("auroc", "AUROC"), ("fpr95", "FPR at 95 % TPR")):
            made = summary(rows[rows["split"] == split], value).reset_index()
            lines += [f"### {title} in percent, {split} images", "", *markdown(made), ""]
    for table, keys, title in ((listed, "kind", "Groups"), (names, "variant", "Absent names")):
        later = table[table["seed"] > 0].groupby(["dataset", keys, "method"], sort=False, as_index=False).sum()
        lines += [f"### {title}, sums over seeds 1 and 2", "", *markdown(later.drop(columns="seed")), ""]
    return "\n".join(lines)


def write_page(folder: Path = RESULTS) -> None:
    """Write the tables into unknown.md; what stands around them there is kept."""
    page = folder / "unknown.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    with replacing(page) as scratch:
        scratch.write_text(f"{before}{BEGIN}\n\n{tables(folder)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _append(file: Path, rows: Sequence[Row]) -> None:
    if rows:
        pd.DataFrame(rows).to_csv(file, mode="a", index=False, header=not file.is_file())


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unknown", description=__doc__.splitlines()[0])
    parser.add_argument("--beds", nargs="+", choices=beds.BEDS, default=list(beds.BEDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(beds.SEEDS))
    parser.add_argument("--page", action="store_true", help="run nothing; write the tables again")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    arguments = parser.parse_args(argv)
    for name in [] if arguments.page else beds.available(arguments.beds):
        bed = beds.load(name)
        for seed in arguments.seeds:
            for cell in cells(bed, seed):
                for method in METHODS:
                    rows, row = measured(cell, method)
                    _append(arguments.out / FILES[0], rows)
                    _append(arguments.out / FILES[1], [row])
            _append(arguments.out / FILES[2], list(absent(bed, seed)))
    print(tables(arguments.out))
    if (arguments.out / "unknown.md").is_file():
        write_page(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
