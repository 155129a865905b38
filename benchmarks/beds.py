"""The beds and variants of benchmarks/results/best-protocol.md, as collections of cached features.

    python -m benchmarks.beds    # make the features that are missing, and list the beds

digits and the photographs are embedded once, in a project of their own below .nola/beds: about ten minutes on two cores. WHU-RS19
comes as features, in NOLA_BENCH_DATA. A bed whose data are missing is skipped, and the reason printed.

The text classifier that all methods start from is `templates`: the mean embedding of each class name in all templates of the
collection. digits has six, Caltech101 and CIFAR-10 one, WHU-RS19 its 106. Labels are for scoring alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import photographs
from nola_core import pseudo_labels, text_classifier
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.errors import NolaError
from nola_core.features import FeatureStore, normalized
from nola_core.files import read_table, replacing
from nola_core.methods import templates
from nola_core.methods.collection import Collection, Descriptions, Space, Texts, answers
from nola_core.methods.method import Encode, Fitted
from nola_core.prediction import prediction_table
from nola_core.stages.paths import Paths

VARIANTS = ("whole", "tail", "half", "quarter", "three", "ten", "weak")
SEEDS = (0, 1, 2)
CACHE = photographs.ROOT / ".nola" / "beds"
WHU = {"whurs19-b32-b32": ("clip-vit-b-32", "clip-vit-b-32"), "whurs19-b32-l14": ("clip-vit-b-32", "clip-vit-l-14"),
       "whurs19-l14-rn50": ("clip-vit-l-14", "clip-rn50")}  # fmt: skip
PROJECTS = {"digits": "demo : demo", "caltech101": "offline : offline", "cifar10": "offline, 128 px : offline, 128 px"}
BEDS = (*PROJECTS, *WHU)
FIRST = "a satellite photo of a {}."
"""WHU-RS19's first template, that of `zero_shot`; the other 105 follow in the order of their file."""
SOME = {"cifar10": {"train": 4000, "test": 2000}}
"""Images of a split that are used, drawn once, where there are more."""
WEAK_DIM = 8
TAIL = 20
"""The first class of a long tail keeps so many times the share of its images that the last one keeps."""


@dataclass(frozen=True)
class Part:
    """Some images of a bed: features of every space, float16 [N, d], labels, int64 [N], and ids where there are images."""

    spaces: Mapping[str, np.ndarray]
    labels: np.ndarray
    ids: np.ndarray | None = None

    def taken(self, images: np.ndarray) -> Part:
        """Some of them, by number."""
        ids = None if self.ids is None else self.ids[images]
        return Part({name: rows[images] for name, rows in self.spaces.items()}, self.labels[images], ids)

    @property
    def features(self) -> dict[str, Tensor]:
        """As `Fitted.predict` takes them."""
        return {name: torch.from_numpy(normalized(rows)) for name, rows in self.spaces.items()}


@dataclass(frozen=True)
class Bed:
    """A collection with labels.

    Attributes:
        backbones: text space : second space.
        texts: what text methods are fitted on.
        split: seed -> train and test images.
    """

    name: str
    backbones: str
    texts: Texts
    split: Callable[[int], tuple[Part, Part]]

    @cached_property
    def text(self) -> Fitted:
        """The text classifier: all templates."""
        return templates.METHOD.fit(self.texts, options=templates.METHOD.section())

    @cached_property
    def descriptions(self) -> Descriptions:
        """As features; none on WHU-RS19."""
        sentences = [sentence for mine in self.texts.descriptions for sentence in mine]
        if not sentences:
            return Descriptions.none()
        ids = [row for row, mine in enumerate(self.texts.descriptions) for _ in mine]
        return Descriptions(torch.tensor(ids), normalize(self.texts.encode(sentences).float(), dim=1))

    def draw(self, variant: str, seed: int) -> Draw:
        """A variant of the bed."""
        train, test = self.split(seed)
        rng = np.random.default_rng([seed, VARIANTS.index(variant)])
        kept = chosen(variant, train.labels, len(self.texts.names), rng)
        train = train.taken(kept)
        if variant in ("half", "quarter"):
            test = test.taken(np.flatnonzero(np.isin(test.labels, np.unique(train.labels))))
        if variant == "weak":
            directions = rng.standard_normal((train.spaces["ssl"].shape[1], WEAK_DIM)).astype(np.float32)
            train, test = (
                replace(part, spaces={**part.spaces, "ssl": (normalized(part.spaces["ssl"]) @ directions).astype(np.float16)})
                for part in (train, test)
            )
        return Draw(self, variant, seed, self.collection(train), train, test)

    def collection(self, train: Part) -> Collection:
        """What methods are fitted on."""
        spaces, count, names = {name: Space(rows) for name, rows in train.spaces.items()}, len(train.labels), self.texts.names
        ids = pd.Series([f"{row:06d}" for row in range(count)])
        table = prediction_table(ids, answers(self.text, spaces)(0, count), split="train", method="templates").to_pandas()
        k = pseudo_labels.per_class(count, len(names), fraction=0.2, minimum=16, maximum=None)  # as preset `paper`
        pseudo = pseudo_labels.select(table, names, k=k, unpredicted="skip")
        pseudo = pseudo[pseudo["selected"]].drop(columns="selected")
        return Collection(names, ids, spaces, self.text, pseudo, self.descriptions)


@dataclass(frozen=True)
class Draw:
    """What methods are fitted on, the train images again with their labels, and the test images."""

    bed: Bed
    variant: str
    seed: int
    collection: Collection
    train: Part
    test: Part
    _features: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def features(self, split: str) -> Mapping[str, Tensor]:
        """L2-normalised features of `train` or `test`, made once."""
        if split not in self._features:
            self._features[split] = (self.train if split == "train" else self.test).features
        return self._features[split]


def chosen(variant: str, labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """The train images of a variant, in order."""
    order, shuffled = rng.permutation(classes), rng.permutation(len(labels))
    mine = [shuffled[labels[shuffled] == one] for one in order]  # of every class, the classes in random order
    if variant == "tail":
        shares = float(TAIL) ** -(np.arange(classes) / max(1, classes - 1))
        mine = [rows[: max(1, round(share * len(rows)))] for rows, share in zip(mine, shares, strict=True)]
    if variant in ("half", "quarter"):
        mine = mine[: max(2, -(-classes // {"half": 2, "quarter": 4}[variant]))]
    if variant in ("three", "ten"):
        mine = [rows[: {"three": 3, "ten": 10}[variant]] for rows in mine]
    return np.sort(np.concatenate(mine))


def prepare(names: Sequence[str] = tuple(PROJECTS)) -> None:
    """Embed what is not embedded yet.

    Raises:
        NolaError: a stage failed.
    """
    root, wanted = CACHE, ["digits"]
    root.mkdir(parents=True, exist_ok=True)
    try:
        photographs.make_project(root, photographs.bench_data())
        wanted += photographs.DATASETS
    except NolaError as error:
        (root / "params.yaml").write_text((photographs.ROOT / "params.yaml").read_text())
        print(f"without Caltech101 and CIFAR-10: {error}")
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"datasets": wanted}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "data").mkdir(exist_ok=True)
    definition = yaml.safe_load((photographs.ROOT / "data" / "digits.yaml").read_text())
    definition["descriptions"] = str(photographs.ROOT / definition["descriptions"])
    (root / "data" / "digits.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    for name in wanted:
        folder = root / "data" / name / "features"
        if name in names and not all(
            (folder / role / split / "meta.json").is_file() for role in ("clip", "ssl") for split in ("train", "test")
        ):
            photographs.run_stages(root, name, photographs.STAGES[:5])


def available(names: Sequence[str] = BEDS) -> list[str]:
    """The beds whose data are there; prints why one is skipped."""
    found = []
    for name in names:
        folder = CACHE / "data" / name / "features"
        try:
            missing = not ((photographs.bench_data() / "whurs19") if name in WHU else folder).is_dir()
            reason = f"its features are not in {CACHE}; run python -m benchmarks.beds" if missing else ""
        except NolaError as error:
            reason = str(error)
        if reason:
            print(f"{name} is skipped: {reason}")
        else:
            found.append(name)
    return found


def load(name: str) -> Bed:
    """A bed by its name.

    Raises:
        NolaError: its data are missing or damaged.
    """
    return _features_of_whu(name) if name in WHU else _project(name)


def _stored(encode: Encode, file: Path) -> Encode:
    """`encode` with a memory in a file: the demo's and the offline towers take half a minute for a thousand sentences."""
    rows: dict[str, Tensor] = {}
    if file.is_file():
        with np.load(file) as held:
            rows = dict(zip(held["texts"].tolist(), torch.from_numpy(held["features"]), strict=True))

    def recall(texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows.update(zip(new, encode(new), strict=True))
            with replacing(file) as scratch, scratch.open("wb") as out:
                np.savez(out, texts=np.array(list(rows)), features=torch.stack(list(rows.values())).numpy())
        return torch.stack([rows[text] for text in texts])

    return recall


def _project(name: str) -> Bed:
    """A bed whose images NoLA has embedded."""
    paths = Paths(CACHE, name)
    truth = read_table(paths["labels.parquet"]).set_index("image_id")["class_id"]
    parts = []
    for split in ("train", "test"):
        stores = {role: FeatureStore.open(paths.store(role, split)) for role in ("clip", "ssl")}
        ids = stores["clip"].index["image_id"]
        spaces = {role: np.asarray(store.features)[store.positions(ids)] for role, store in stores.items()}
        part = Part(spaces, truth.loc[ids].to_numpy(dtype="int64"), ids.to_numpy())
        most = SOME.get(name, {}).get(split)
        parts.append(part if most is None else part.taken(np.sort(np.random.default_rng(70).permutation(len(ids))[:most])))
    classes = read_table(paths["classes.parquet"])
    described = read_table(paths["descriptions.parquet"])
    sentences = [described.loc[described["class_id"] == row, "text"].tolist() for row in classes["class_id"]]
    definition = yaml.safe_load((CACHE / "data" / f"{name}.yaml").read_text())
    display, patterns = classes["display_name"].tolist(), definition["templates"]
    clip = load_clip(load_pair(definition["backbones"]).clip, root=CACHE)
    encode = _stored(clip.encode_texts, CACHE / f"texts-{name}.npz")
    texts = Texts(display, text_classifier.fill(patterns, display), sentences, encode, clip.logit_scale, patterns)
    return Bed(name, PROJECTS[name], texts, lambda seed: (parts[0], parts[1]))


def _features_of_whu(name: str) -> Bed:
    """WHU-RS19 in a pair of published models; the split, 70 / 30, is drawn by the seed."""
    folder = photographs.bench_data() / "whurs19"
    first, second = (np.load(folder / f"{model}.npz") for model in WHU[name])
    spaces = {"clip": first["images"], "ssl": second["images"]}
    everything = Part(spaces, np.load(folder / "labels.npy").astype("int64"))
    names = (folder / "classes.txt").read_text().split()
    patterns = [line.replace("_", " ") + " {}." for line in (folder / "templates.txt").read_text().split()]
    features = {
        pattern.replace("{}", one): torch.from_numpy(row).float()
        for pattern, rows in zip(patterns, first["text_templates"], strict=True)
        for one, row in zip(names, rows, strict=True)
    }
    patterns = [FIRST, *(pattern for pattern in patterns if pattern != FIRST)]

    def encode(texts: Sequence[str]) -> Tensor:
        if unknown := [text for text in texts if text not in features]:
            raise NolaError(f"WHU-RS19 has no text tower, and no features of '{unknown[0]}'")
        return torch.stack([features[text] for text in texts])

    def split(seed: int) -> tuple[Part, Part]:
        order = np.random.default_rng([seed, 70]).permutation(len(everything.labels))
        cut = round(0.7 * len(order))
        return everything.taken(np.sort(order[:cut])), everything.taken(np.sort(order[cut:]))

    texts = Texts(names, text_classifier.fill(patterns, names), [[] for _ in names], encode, 100.0, patterns)
    return Bed(name, " : ".join(WHU[name]), texts, split)


def main() -> int:
    """Make the features, and list the beds."""
    prepare()
    for bed in map(load, available()):
        train, test = bed.split(0)
        print(f"{bed.name}: {len(train.labels):,} / {len(test.labels):,} images, {len(bed.texts.names)} classes, {bed.backbones}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
