"""Stage `duplicates`: SSL features -> pairs of images that are the same or nearly so."""

import pandas as pd

from nola_core.config import Duplicates
from nola_core.features import FeatureStore
from nola_core.files import read_table, write_table
from nola_core.inputs import Inputs
from nola_core.neighbors import DUPLICATES_SCHEMA, Gallery, near_duplicates
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Look for near duplicates within and across splits; a pair across splits is leakage, and the report says so."""
    options = inputs.options(Duplicates)
    stores = [FeatureStore.open(paths.store("ssl", split)) for split in paths.splits("ssl")]
    table, recall = near_duplicates(
        read_table(paths["manifest.parquet"], ["image_id", "split", "sha256"]),
        pd.concat([store.index["image_id"] for store in stores]),
        Gallery([store.features for store in stores]),
        neighbors=options.neighbors,
        similarity=options.similarity,
        closeness=options.closeness,
    )
    said = "" if recall is None else str(recall)
    write_table(paths["near_duplicates.parquet"], table, DUPLICATES_SCHEMA, note=said)
    across = int((table["split"] != table["other_split"]).sum())
    print(f"{len(table):,} near-duplicate pairs, {int(table['exact'].sum()):,} of them exact, {across:,} across splits")
    if said:
        print(f"  {said}")
