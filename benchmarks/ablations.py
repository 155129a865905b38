"""The papers' ablations on a finished data set. Each command makes one table and one picture.

    dvc repro                                                   # first
    python -m benchmarks.ablations k --dataset digits           # pseudo-labels per class against head accuracy (paper: Fig. 4)
    python -m benchmarks.ablations descriptions --dataset digits  # names, templates, descriptions, both
    python -m benchmarks.ablations ssl --dataset digits         # the head on CLIP's own features, and on other pairs' `ssl`
    python -m benchmarks.ablations tokens --dataset digits      # prompt tokens against student accuracy (tunes once per value)
    python -m benchmarks.ablations tsne --dataset digits        # features before and after tuning (paper: Fig. 3)

Writes benchmarks/results/ablation-<what>-<dataset>.{csv,png}; data/ does not change. Labels are used for evaluation, never for
training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.accuracy import RESULTS, scratch_project
from benchmarks.photographs import run_stages
from nola_core import alignment, pseudo_labels, text_classifier
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.config import Settings, load
from nola_core.datasets.definition import load_definition
from nola_core.datasets.opener import image_opener
from nola_core.device import cache_root, device
from nola_core.errors import NolaError
from nola_core.evaluation import reported_split
from nola_core.extraction import extract, loaded_batches
from nola_core.features import FeatureStore, normalized
from nola_core.files import read_json, read_table, replacing
from nola_core.methods import alignment as alignment_method
from nola_core.methods import nola, storage
from nola_core.prediction import prediction_table
from nola_core.stages.paths import Paths
from nola_core.students.student import TunedStudent

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
TOKENS = (0, 1, 4, 8, 16, 32)


class Finished:
    """A data set whose stages have run, and its ground truth."""

    def __init__(self, root: Path, dataset: str) -> None:
        self.paths = Paths(root, dataset)
        self.settings: Settings = load(root)
        self.definition = load_definition(root, dataset)
        self.classes = read_table(self.paths["classes.parquet"])
        self.names: list[str] = self.classes["name"].tolist()
        self.truth = read_table(self.paths["labels.parquet"]).set_index("image_id")["class_id"]
        if self.truth.empty:
            raise NolaError(
                f"data set '{dataset}' has no ground truth, so accuracy cannot be measured; choose a data set with labels."
            )
        self.split = reported_split(read_table(self.paths["manifest.parquet"]))
        self.pair_name = self.definition.backbones or self.settings.embed.backbones

    def store(self, role: str, split: str) -> FeatureStore:
        """One of its feature stores."""
        return FeatureStore.open(self.paths.store(role, split))

    def top1(self, ids: Sequence[str], answers: np.ndarray) -> float:
        """Accuracy on the labelled images."""
        known = self.truth.reindex(list(ids)).to_numpy()
        labelled = ~np.isnan(known.astype(float))
        return float((answers[labelled] == known[labelled]).mean())

    def head_top1(self, chosen: pd.DataFrame, gallery: FeatureStore, queries: FeatureStore, seeds: Sequence[int]) -> list[float]:
        """Accuracy of a head trained on these pseudo-labels, one value per seed."""
        features = torch.from_numpy(gallery.rows(chosen["image_id"].tolist()))
        targets = torch.from_numpy(chosen["class_id"].to_numpy(dtype="int64", copy=True))
        asked, ids = torch.from_numpy(queries.normalized()), queries.index["image_id"].tolist()
        options = self.settings.options("alignment")
        assert isinstance(options, alignment_method.Options)
        scores = []
        for seed in seeds:
            head = alignment.train(features, targets, classes=len(self.names), options=options, seed=seed)
            scores.append(self.top1(ids, head.predict({"ssl": asked}).argmax(dim=1).numpy()))
        return scores

    def chosen(self, predictions: pd.DataFrame, **options: Any) -> pd.DataFrame:
        """Pseudo-labels from train predictions, with the options of `select` except those given."""
        given = self.settings.select.model_dump() | options
        k = pseudo_labels.per_class(
            len(predictions),
            len(self.names),
            fraction=given["fraction"],
            minimum=given["min_per_class"],
            maximum=given["max_per_class"],
        )
        table = pseudo_labels.select(predictions, self.names, k=k, unpredicted=given["unpredicted"])
        return table[table["selected"]]


def ablate_k(data: Finished, seeds: Sequence[int]) -> pd.DataFrame:
    """Head accuracy by the share of the average class size that is selected, with no lower bound (paper: Fig. 4)."""
    asked = read_table(data.paths["zero_shot.parquet"])  # the text classifier's, of the train split
    rows = []
    for share in SHARES:
        chosen = data.chosen(asked, fraction=share, min_per_class=1, max_per_class=None)
        scores = data.head_top1(chosen, data.store("ssl", "train"), data.store("ssl", data.split), seeds)
        right = data.top1(chosen["image_id"].tolist(), chosen["class_id"].to_numpy())
        rows.append({"share": share, "pseudo_labels": len(chosen), "pseudo_labels_right": right, **spread(scores)})
    return pd.DataFrame(rows)


def ablate_descriptions(data: Finished, seeds: Sequence[int]) -> pd.DataFrame:
    """Zero-shot and head accuracy by the texts that the text classifier averages."""
    clip = load_clip(load_pair(data.pair_name).clip, root=data.paths.root, device=device())
    displayed = data.classes["display_name"].tolist()
    filled = text_classifier.fill(data.definition.templates, displayed)
    described = read_table(data.paths["descriptions.parquet"])
    written = [described.loc[described["class_id"] == row, "text"].tolist() for row in data.classes["class_id"]]
    sources = {"name": [[name] for name in displayed], "first template": [t[:1] for t in filled], "templates": filled}
    if len(described):
        sources |= {"descriptions": written, "both": [w + t for w, t in zip(written, filled, strict=True)]}
    rows = []
    for source, texts in sources.items():
        phi = text_classifier.build(clip.encode_texts, texts, names=data.names)
        tables = {split: zero_shot(data.store("clip", split), phi, clip.logit_scale, split) for split in ("train", data.split)}
        table = tables[data.split]
        chosen = data.chosen(tables["train"])
        scores = data.head_top1(chosen, data.store("ssl", "train"), data.store("ssl", data.split), seeds)
        right = data.top1(chosen["image_id"].tolist(), chosen["class_id"].to_numpy())
        top1 = data.top1(table["image_id"].tolist(), table["class_id"].to_numpy())
        rows.append({"texts": source, "zero_shot": top1, "pseudo_labels_right": right, **spread(scores)})
    return pd.DataFrame(rows)


def zero_shot(store: FeatureStore, phi: Tensor, scale: float, split: str) -> pd.DataFrame:
    """A prediction table of one text classifier."""
    p = text_classifier.TextClassifier(phi, scale).predict({"clip": torch.from_numpy(store.normalized())})
    return prediction_table(store.index["image_id"].tolist(), p, split=split, method="zero_shot").to_pandas()


def ablate_ssl(data: Finished, seeds: Sequence[int], pairs: Sequence[str]) -> pd.DataFrame:
    """Head accuracy by the features it is trained on: the pair's own, CLIP's, and those of other pairs' `ssl` models."""
    chosen = read_table(data.paths["pseudo_labels.parquet"])
    chosen = chosen[chosen["selected"]]
    manifest = read_table(data.paths["manifest.parquet"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        stores = {
            f"{data.pair_name}: ssl": data.paths["features"] / "ssl",
            f"{data.pair_name}: clip": data.paths["features"] / "clip",
        }
        for name in pairs:
            stores[f"{name}: ssl"] = Path(scratch) / name
            encoder = load_ssl(load_pair(name).ssl, root=data.paths.root, device=device())
            opener = image_opener(data.paths.root, data.paths.dataset)
            out, cache = stores[f"{name}: ssl"], data.paths.root / cache_root()
            extract(encoder, manifest, opener, role="ssl", out=out, cache=cache, device=device(), code="")
        for name, folder in stores.items():
            gallery, queries = FeatureStore.open(folder / "train"), FeatureStore.open(folder / data.split)
            rows.append(
                {"features": name, "width": gallery.meta["dim"], **spread(data.head_top1(chosen, gallery, queries, seeds))}
            )
    return pd.DataFrame(rows)


def ablate_tokens(data: Finished, seeds: Sequence[int]) -> pd.DataFrame:
    """NoLA's accuracy by the number of prompt tokens; 0 tunes LayerNorms and classifier alone."""
    rows = []
    for tokens in TOKENS:
        scores = []
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                scratch, dataset = Path(folder), data.paths.dataset
                params = yaml.safe_load((data.paths.root / "params.yaml").read_text()) | {"seed": seed, "datasets": [dataset]}
                params["nola"] = params.get("nola", {}) | {"prompt_tokens": tokens}
                scratch_project(data.paths.root, dataset, scratch, params)
                stages = ("resolve", "fit", "tune", "predict", "evaluate")
                run_stages(scratch, dataset, stages, what=f"{dataset}, {tokens} tokens, seed {seed}")
                methods = read_json(scratch / "data" / dataset / "metrics.json")["methods"]
                scores.append(methods["nola"]["top1"])
        rows.append({"prompt_tokens": tokens, **spread(scores)})
    return pd.DataFrame(rows)


def embed_tsne(data: Finished, seed: int) -> pd.DataFrame:
    """Two t-SNE coordinates of every image of the reported split: frozen CLIP, tuned student, self-supervised features."""
    from sklearn.manifold import TSNE

    clip = load_clip(load_pair(data.pair_name).clip, root=data.paths.root, device=device())
    before = data.store("clip", data.split)
    ids = before.index["image_id"].tolist()
    method, options = nola.METHOD, data.settings.options("nola")
    student = storage.read_student(data.paths["fitted/students"] / "nola.safetensors", method, clip, options=options)
    assert isinstance(student, TunedStudent)
    opener = image_opener(data.paths.root, data.paths.dataset)
    batches = [ids[start : start + 256] for start in range(0, len(ids), 256)]
    with torch.inference_mode():
        after = torch.cat(
            [
                student.tower(images.to(device())).float().cpu()
                for _, images in loaded_batches(batches, clip.image.preprocess, opener)
            ]
        )
    spaces = {
        "CLIP before tuning": before.normalized(),
        "CLIP with prompts (NoLA)": normalized(after.numpy()),
        "self-supervised features": data.store("ssl", data.split).rows(ids),
    }
    parts = []
    for space, features in spaces.items():
        points = TSNE(init="pca", perplexity=min(30, (len(ids) - 1) / 3), random_state=seed).fit_transform(features)
        names = true_names(data, ids)
        parts.append(pd.DataFrame({"space": space, "image_id": ids, "class": names, "x": points[:, 0], "y": points[:, 1]}))
    return pd.concat(parts, ignore_index=True)


def true_names(data: Finished, ids: Sequence[str]) -> list[str]:
    """The true class name of every image, '' if it is unknown."""
    return [data.names[int(row)] if row == row else "" for row in data.truth.reindex(list(ids)).to_numpy(dtype=float)]


def spread(scores: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation over seeds, as fractions; one seed has no deviation (NaN, an empty cell)."""
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return {"top1_mean": float(np.mean(scores)), "top1_std": deviation}


def draw_line(table: pd.DataFrame, x: str, title: str) -> Figure:
    """Accuracy against a number; a second line for the pseudo-label accuracy if the table has it."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(table[x], 100 * table["top1_mean"], yerr=100 * table["top1_std"], marker="o", capsize=3, label="top-1")
    if "pseudo_labels_right" in table:
        axes.plot(
            table[x], 100 * table["pseudo_labels_right"], marker="s", linestyle="--", color="#999999", label="pseudo-labels right"
        )
        axes.legend()
    axes.set(xlabel=x.replace("_", " "), ylabel="%", title=title)
    axes.grid(alpha=0.4)
    return figure


def draw_bars(table: pd.DataFrame, x: str, title: str) -> Figure:
    """Accuracy by a name; a lighter bar for zero-shot if the table has it."""
    figure = Figure(figsize=(6, 1.2 + 0.5 * len(table)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(table))
    beside = 0.2 if "zero_shot" in table else 0.0
    if beside:
        axes.barh(rows + beside, 100 * table["zero_shot"], height=0.36, color="#bbbbbb", label="zero-shot")
    bars = axes.barh(rows - beside, 100 * table["top1_mean"], xerr=100 * table["top1_std"], height=0.36, label="alignment head")
    axes.bar_label(bars, labels=[f"{100 * value:.1f}" for value in table["top1_mean"]], padding=4)
    axes.set_yticks(rows, table[x])
    axes.invert_yaxis()
    axes.set(xlim=(0, 112), xlabel="top-1 %", title=title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_tsne(table: pd.DataFrame, title: str) -> Figure:
    """One panel per feature space, one colour per class (at most twenty distinct colours)."""
    import matplotlib

    names, palette = sorted(set(table["class"]) - {""}), matplotlib.colormaps["tab20"]
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    for axes, (space, part) in zip(figure.subplots(1, 3), table.groupby("space", sort=False), strict=True):
        for number, name in enumerate(names):
            mine = part[part["class"] == name]
            axes.scatter(mine["x"], mine["y"], s=7, color=palette(number % 20), label=name)
        axes.set(title=str(space), xticks=[], yticks=[])
    if len(names) <= 20:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=10, frameon=False, markerscale=2)
    figure.suptitle(title)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Run one ablation, print its table, and write the table and picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("k", "descriptions", "ssl", "tokens", "tsne"))
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7777, 1, 2])
    parser.add_argument("--pair", action="append", default=[], help="ssl: also the `ssl` model of this pair; may be repeated")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    seeds, name = arguments.seeds, arguments.dataset
    try:
        data = Finished(arguments.root, name)
        made: dict[str, Callable[[], tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]]] = {
            "k": lambda: (ablate_k(data, seeds), lambda t: draw_line(t, "share", f"{name}: head by share of the class size")),
            "descriptions": lambda: (
                ablate_descriptions(data, seeds),
                lambda t: draw_bars(t, "texts", f"{name}: by source of texts"),
            ),
            "ssl": lambda: (ablate_ssl(data, seeds, arguments.pair), lambda t: draw_bars(t, "features", f"{name}: by features")),
            "tokens": lambda: (ablate_tokens(data, seeds), lambda t: draw_line(t, "prompt_tokens", f"{name}: student")),
            "tsne": lambda: (embed_tsne(data, seeds[0]), lambda t: draw_tsne(t, f"{name}, {data.split} split, t-SNE")),
        }
        table, draw = made[arguments.what]()
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stem = arguments.results / f"ablation-{arguments.what}-{name}"
    with replacing(stem.with_suffix(".csv")) as scratch:
        table.round(4).to_csv(scratch, index=False)
    with replacing(stem.with_suffix(".png")) as scratch:
        draw(table).savefig(scratch, dpi=120, format="png")
    print(table.round(4).to_string(index=False) if arguments.what != "tsne" else f"{stem.with_suffix('.png')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
