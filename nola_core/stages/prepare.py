"""Stage `prepare`: source images -> manifest, classes, labels."""

from nola_core import datasets
from nola_core.config import load
from nola_core.datasets.manifest import CLASSES_SCHEMA, LABELS_SCHEMA, MANIFEST_SCHEMA
from nola_core.files import write_table
from nola_core.stages.paths import Paths


def run(paths: Paths) -> None:
    """List every image of the collection, usable or not, with its split, and the truth (if any) apart from it."""
    settings = load(paths.root)
    definition = datasets.load_definition(paths.root, paths.dataset)
    prepared = datasets.prepare(definition, max_pixels=settings.prepare.max_pixels)
    write_table(paths["manifest.parquet"], prepared.manifest, MANIFEST_SCHEMA)
    write_table(paths["classes.parquet"], prepared.classes, CLASSES_SCHEMA)
    write_table(paths["labels.parquet"], prepared.labels, LABELS_SCHEMA)
    bad = prepared.manifest[~prepared.manifest["ok"]]
    print(f"{len(prepared.manifest):,} images, {len(bad)} of them not usable, {len(prepared.classes)} classes")
    for row in bad.head(10).itertuples():
        print(f"  not usable: {row.image_id}: {row.reason}")
