"""Stage `align`: pseudo-labels and SSL features -> alignment head, and its answer for every train image."""

import torch

from nola_core import alignment
from nola_core.config import Align
from nola_core.features import FeatureStore
from nola_core.files import PREDICTION_SCHEMA, read_table, table_writer
from nola_core.inputs import Inputs
from nola_core.prediction import prediction_table
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Train the alignment head and write the teacher's answers, once for all."""
    classes = read_table(paths["classes.parquet"])
    chosen = read_table(paths["pseudo_labels.parquet"])
    chosen = chosen[chosen["selected"]]
    store = FeatureStore.open(paths.store("ssl", "train"))
    head = alignment.train(
        torch.from_numpy(store.rows(chosen["image_id"].tolist())),
        torch.from_numpy(chosen["class_id"].to_numpy(dtype="int64")),
        classes=len(classes),
        options=inputs.options(Align),
        seed=inputs.seed,
    )
    alignment.save(head, paths["alignment.safetensors"])
    probabilities = alignment.predict(head, torch.from_numpy(store.normalized()))
    with table_writer(paths["teacher.parquet"], PREDICTION_SCHEMA) as write:
        write(prediction_table(store.index["image_id"].tolist(), probabilities, split="train", method="alignment"))
    print(f"head trained on {len(chosen)} pseudo-labels; teaches {len(store.index):,} images")
