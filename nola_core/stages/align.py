"""Stage `align`: pseudo-labels and SSL features -> alignment head, and its answer for every train image."""

import torch

from nola_core import alignment
from nola_core.config import Align
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, table_writer
from nola_core.inputs import Inputs
from nola_core.prediction import predict
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Train the alignment head and write the teacher's answers, once for all."""
    classes = read_table(paths["classes.parquet"])
    chosen = read_table(paths["pseudo_labels.parquet"], ["image_id", "class_id", "selected"])
    chosen = chosen[chosen["selected"]]
    store = FeatureStore.open(paths.store("ssl", "train"))
    head = alignment.train(
        torch.from_numpy(store.rows(chosen["image_id"])),
        torch.from_numpy(chosen["class_id"].to_numpy(dtype="int64")),
        classes=len(classes),
        options=inputs.options(Align),
        seed=inputs.seed,
    )
    alignment.save(head, paths["alignment.safetensors"])
    with table_writer(paths["teacher.parquet"], PREDICTION_SCHEMA) as write:
        for table, _ in predict(
            store.index["image_id"],
            lambda start, stop: alignment.predict(head, torch.from_numpy(store.block(start, stop))),
            classes=len(classes),
            split="train",
            method="alignment",
        ):
            write(table)
    print(f"head trained on {len(chosen):,} pseudo-labels; teaches {len(store.index):,} images")
