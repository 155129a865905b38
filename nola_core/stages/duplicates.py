"""Stage `duplicates`: SSL features -> pairs of images that are the same or nearly so."""

import numpy as np

from nola_core.config import Duplicates
from nola_core.features import FeatureStore
from nola_core.files import read_table, write_table
from nola_core.inputs import Inputs
from nola_core.neighbors import DUPLICATES_SCHEMA, near_duplicates
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Look for near duplicates within and across splits; a pair across splits is leakage, and the report says so."""
    options = inputs.options(Duplicates)
    stores = [FeatureStore.open(paths.store("ssl", split)) for split in paths.splits("ssl")]
    image_ids = [image_id for store in stores for image_id in store.index["image_id"]]
    features = np.concatenate([store.normalized() for store in stores])
    manifest = read_table(paths["manifest.parquet"])
    table = near_duplicates(
        manifest,
        image_ids,
        features,
        neighbors=options.neighbors,
        similarity=options.similarity,
        closeness=options.closeness,
    )
    write_table(paths["near_duplicates.parquet"], table, DUPLICATES_SCHEMA)
    across = int((table["split"] != table["other_split"]).sum())
    print(f"{len(table)} near-duplicate pairs, {int(table['exact'].sum())} of them exact, {across} across splits")
