"""Accuracy over several seeds: the methods on finished data sets, and a supervised probe for comparison.

    dvc repro                                         # features, classifiers and pseudo-labels: no seed in them
    python -m benchmarks.accuracy --dataset digits    # fit, tune, predict and evaluate once a seed
    python -m benchmarks.accuracy --photographs       # Caltech101 and CIFAR-10 with the offline pair (benchmarks/photographs.py)

Seeds run in a scratch folder; data/ does not change. The table goes to benchmarks/results/accuracy.csv, .md and .png, and the
command and machine to accuracy.json. Only `evaluate` and the supervised linear probe (the upper reference) read labels.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import photographs
from benchmarks.photographs import run_stages
from nola_core.config import in_force, load
from nola_core.datasets.definition import load_definition
from nola_core.device import cache_root
from nola_core.errors import NolaError
from nola_core.evaluation import reported_split
from nola_core.features import FeatureStore
from nola_core.files import read_json, read_table, replacing, write_json
from nola_core.stages.paths import Paths

RESULTS = Path(__file__).parent / "results"
COLUMNS = ["dataset", "method", "backbones", "seeds", "top1_mean", "top1_std", "gain_over_zero_shot", "gap_closed", "ece_mean"]
CEILING = "linear_probe"


def run_seed(root: Path, dataset: str, seed: int, *, student: bool = True, per_class: int | None = None) -> dict[str, float]:
    """Top-1 of every method in force, and of the k-NN probe, with this seed; arguments and errors as of `metrics_of`."""
    return top1_of(metrics_of(root, dataset, seed, student=student, per_class=per_class))


def top1_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Method or probe -> top-1, from metrics.json."""
    return {name: scores["top1"] for name, scores in {**metrics["methods"], **metrics["probes"]}.items()}


def metrics_of(root: Path, dataset: str, seed: int, *, student: bool = True, per_class: int | None = None) -> dict[str, Any]:
    """metrics.json of a run with this seed; `root` is left as it was.

    Args:
        student: False leaves out the students, whose tuning takes most of the time.
        per_class: so many pseudo-labels a class at most; None: what params.yaml says.

    Raises:
        NolaError: a stage failed (it has printed its own message above).
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        scratch_project(root, dataset, scratch, seed_params(root, dataset, seed, student=student, per_class=per_class))
        run_stages(scratch, dataset, ("resolve", "select", "fit", "tune", "predict", "evaluate"), what=f"{dataset}, seed {seed}")
        found: dict[str, Any] = read_json(scratch / "data" / dataset / "metrics.json")
    return found


def scratch_project(root: Path, dataset: str, scratch: Path, params: dict[str, Any]) -> None:
    """A copy of a finished data set with settings of its own, where stages can run again; the rest of the project is linked."""
    (scratch / "data").mkdir()
    shutil.copytree(root / "data" / dataset, scratch / "data" / dataset)
    own = [path for path in root.iterdir() if path.name not in ("data", "params.yaml")]
    for path in [*own, *(path for path in (root / "data").iterdir() if path.is_file())]:
        if not path.name.startswith("."):
            (scratch / path.relative_to(root)).symlink_to(path.resolve())
    (scratch / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def seed_params(root: Path, dataset: str, seed: int, *, student: bool, per_class: int | None) -> dict[str, Any]:
    """params.yaml of one run; arguments as of `run_seed`.

    Raises:
        NolaError: without students no method is left.
    """
    settings = load(root)
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"seed": seed, "datasets": [dataset]}
    if per_class is not None:
        fewest = min(per_class, settings.select.min_per_class)
        params["select"] = params.get("select", {}) | {"max_per_class": per_class, "min_per_class": fewest}
    if not student:
        untuned = [one.name for one in in_force(settings, root).methods if one.kind != "student"]
        if not untuned:
            raise NolaError("every method of params.yaml is a student, so there is nothing to measure without one.")
        params |= {"methods": untuned, "final": settings.final if settings.final in untuned else untuned[-1]}
    return params


def linear_probe(root: Path, dataset: str) -> float:
    """The upper reference: top-1 of a logistic regression on CLIP's features of the train images with their true labels."""
    from sklearn.linear_model import LogisticRegression

    paths = Paths(root, dataset)
    truth = read_table(paths["labels.parquet"]).set_index("image_id")["class_id"]
    split = reported_split(read_table(paths["manifest.parquet"]))
    stores = {name: FeatureStore.open(paths.store("clip", name)) for name in ("train", split)}
    ids = {name: [i for i in store.index["image_id"] if i in truth.index] for name, store in stores.items()}
    probe = LogisticRegression(C=100.0, max_iter=2000)  # weak penalty because the features have unit length
    probe.fit(stores["train"].rows(ids["train"]), truth.loc[ids["train"]])
    return float(np.mean(probe.predict(stores[split].rows(ids[split])) == truth.loc[ids[split]].to_numpy()))


def summarise(
    dataset: str,
    backbones: str,
    runs: dict[int, dict[str, float]],
    ceiling: float,
    *,
    errors: Mapping[int, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """One row a method, in percent and points, columns `COLUMNS`; gain and gap are empty where zero_shot was not run.

    Args:
        runs: seed -> method -> top-1.
        ceiling: top-1 of `CEILING`.
        errors: seed -> method -> calibration error (ECE).
    """
    values = {name: {seed: 100 * run[name] for seed, run in runs.items() if name in run} for name in next(iter(runs.values()))}
    values[CEILING] = dict.fromkeys(list(runs)[:1], 100 * ceiling)
    start, top = float(np.mean(list(values.get("zero_shot", {0: np.nan}).values()))), 100 * ceiling
    rows = []
    for method, by_seed in values.items():
        mean, several = float(np.mean(list(by_seed.values()))), len(by_seed) > 1
        off = [100 * mine[method] for mine in (errors or {}).values() if method in mine]
        rows.append(
            {
                "dataset": dataset,
                "method": method,
                "backbones": backbones,
                "seeds": " ".join(map(str, by_seed)),
                "top1_mean": round(mean, 2),
                "top1_std": round(float(np.std(list(by_seed.values()), ddof=1)) if several else float("nan"), 2),
                "gain_over_zero_shot": round(mean - start, 2),
                "gap_closed": round((mean - start) / (top - start), 3) if top > start else float("nan"),
                "ece_mean": round(float(np.mean(off)), 2) if off else float("nan"),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def write(table: pd.DataFrame, command: str, folder: Path, *, note: str = "") -> None:
    """Write rows to accuracy.csv and their origin to accuracy.json, then write the page. Rows of other data sets stay."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "open_clip_torch", "timm"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
    told = {name: {"command": command, "machine": machine, "note": note} for name in table["dataset"].unique()}
    if (folder / "accuracy.csv").is_file():
        earlier = pd.read_csv(folder / "accuracy.csv", dtype={"seeds": str})
        table = pd.concat([earlier[~earlier["dataset"].isin(told)], table], ignore_index=True)
        told = {name: told.get(name) or read_json(folder / "accuracy.json")[name] for name in table["dataset"].unique()}
    table.loc[~table["seeds"].str.contains(" "), "top1_std"] = float("nan")  # one seed has no deviation
    write_json(folder / "accuracy.json", told)
    with replacing(folder / "accuracy.csv") as scratch:
        table.to_csv(scratch, index=False)
    write_page(folder)


def write_page(folder: Path) -> None:
    """accuracy.md and accuracy.png from accuracy.csv and accuracy.json."""
    from matplotlib.figure import Figure

    table = pd.read_csv(folder / "accuracy.csv", dtype={"seeds": str})
    told = read_json(folder / "accuracy.json")
    rows = [["" if pd.isna(value) else str(value) for value in row] for row in table.itertuples(index=False)]
    lines = ["# Accuracy", "", *dict.fromkeys(f"    {one['command']}" for one in told.values()), ""]
    lines += [f"Machine: {'; '.join(dict.fromkeys(one['machine'] for one in told.values()))}.", ""]
    lines += [
        "Top-1 accuracy in percent on the reported split: mean and standard deviation over seeds (empty for a single seed)."
    ]
    lines += ["`gap_closed` is the share of the gap between zero-shot and a supervised linear probe on the same CLIP features."]
    lines += ["Only `linear_probe` and `ssl_knn` learn from labels.", ""]
    lines += ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    notes = [f"- {name}: {one['note']}" for name, one in told.items() if one["note"]]
    lines += ["", *notes] if notes else []
    with replacing(folder / "accuracy.md") as scratch:
        scratch.write_text("\n".join(lines) + "\n")
    figure = Figure(figsize=(8, 0.6 + 0.32 * len(table)), layout="constrained")
    axes = figure.subplots()
    names = [f"{row.dataset}: {row.method}" for row in table.itertuples()]
    colours = ["#999999" if name in (CEILING, "ssl_knn") else "#0072b2" for name in table["method"]]
    bars = axes.barh(names, table["top1_mean"], xerr=table["top1_std"], color=colours, capsize=3)
    axes.bar_label(bars, labels=[f"{value:.1f}" for value in table["top1_mean"]], padding=4)
    axes.invert_yaxis()
    axes.set(xlim=(0, 108), xlabel="top-1 %, grey learns from labels")
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(folder / "accuracy.png") as scratch:
        figure.savefig(scratch, dpi=120, format="png")


def main(argv: list[str] | None = None) -> int:
    """Run all data sets and seeds, then print and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--dataset", action="append", help="may be repeated; default: all of params.yaml")
    parser.add_argument(
        "--photographs",
        nargs="*",
        choices=photographs.DATASETS,
        help="also Caltech101 and CIFAR-10, or one of them; see benchmarks/photographs.py",
    )
    parser.add_argument("--tune-epochs", type=int, help="epochs for the photographs, if the preset takes too long")
    parser.add_argument("--tune-batch", type=int, help="images per step for the photographs")
    parser.add_argument("--per-class", type=int, help="maximum pseudo-labels per class; default: the value in params.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7777, 1, 2])
    parser.add_argument("--students", type=int, help="tune a student for only this many seeds; default: all")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="a sentence shown on the page for these rows")
    parser.add_argument("--page", action="store_true", help="run nothing; rewrite the page from accuracy.csv and accuracy.json")
    arguments = parser.parse_args(argv)
    if arguments.page:
        write_page(arguments.results)
        return 0
    try:
        names = arguments.dataset or ([] if arguments.photographs is not None else list(load(arguments.root).datasets))
        targets = [(arguments.root, name) for name in names]
        if arguments.photographs is not None:
            project = arguments.root / cache_root() / "photographs"
            photographs.make_project(project, photographs.bench_data(), epochs=arguments.tune_epochs, batch=arguments.tune_batch)
            targets += [(project, name) for name in arguments.photographs or photographs.DATASETS]
        tables = []
        for root, dataset in targets:
            if arguments.photographs is not None and root == project:
                run_stages(root, dataset, photographs.STAGES)
            pair = load_definition(root, dataset).backbones or load(root).embed.backbones
            backbones = (
                pair if isinstance(pair, str) else " + ".join(" ".join(map(str, model.values())) for model in pair.values())
            )
            tuned = arguments.seeds[: arguments.students]
            k = arguments.per_class
            found = {seed: metrics_of(root, dataset, seed, student=seed in tuned, per_class=k) for seed in arguments.seeds}
            runs = {seed: top1_of(metrics) for seed, metrics in found.items()}
            errors = {
                seed: {method: scores["ece"] for method, scores in metrics["methods"].items()} for seed, metrics in found.items()
            }
            title = dataset if k is None else f"{dataset}, k = {k}"
            tables.append(summarise(title, backbones, runs, linear_probe(root, dataset), errors=errors))
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = pd.concat(tables, ignore_index=True)
    datasets = "".join(f" --dataset {name}" for name in arguments.dataset or [])
    if arguments.photographs is not None:
        datasets += " ".join([" --photographs", *arguments.photographs])
    for option, value in (
        ("--tune-epochs", arguments.tune_epochs),
        ("--tune-batch", arguments.tune_batch),
        ("--students", arguments.students),
        ("--per-class", arguments.per_class),
    ):
        datasets += f" {option} {value}" if value is not None else ""
    command = f"python -m benchmarks.accuracy{datasets} --seeds {' '.join(map(str, arguments.seeds))}"
    write(table, command, arguments.results, note=arguments.note)
    print(table.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
