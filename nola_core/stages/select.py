"""Stage `select`: zero-shot predictions of the train images -> pseudo-labels."""

import numpy as np

from nola_core import pseudo_labels
from nola_core.config import Select
from nola_core.files import read_table, write_table
from nola_core.inputs import Inputs
from nola_core.prediction import Predictions
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Select the most confident train images of every class by the text classifier."""
    options = inputs.options(Select)
    names = read_table(paths["classes.parquet"])["name"].tolist()
    columns = ["image_id", "top_classes", "top_probabilities"]
    predictions = Predictions.open(paths["zero_shot.parquet"]).read("train", None, columns)
    k = pseudo_labels.per_class(
        len(predictions),
        len(names),
        fraction=options.fraction,
        minimum=options.min_per_class,
        maximum=options.max_per_class,
    )
    given = inputs.given(names)
    table = pseudo_labels.select(predictions, names, k=k, unpredicted=options.unpredicted, given=given)
    write_table(paths["pseudo_labels.parquet"], table, pseudo_labels.SCHEMA)
    chosen = table[table["selected"]]
    least = np.bincount(chosen["class_id"], minlength=len(names))
    fewest = f"fewest for '{names[least.argmin()]}': {least.min()}"
    by_hand = f", {int((chosen['why'] == pseudo_labels.GIVEN).sum()):,} of them given by corrections" if given else ""
    print(f"{len(chosen)} pseudo-labels from {len(predictions):,} images{by_hand}, k = {k}; {fewest}")
    empty = pseudo_labels.classes_without(table, names)
    if empty:
        print(f"warning: no pseudo-label for {pseudo_labels.named(empty, len(names))}; nothing will be taken for one of these")
