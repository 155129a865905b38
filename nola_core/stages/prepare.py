"""Stage `prepare`: source images -> manifest, classes, labels."""

from nola_core import datasets
from nola_core.config import load
from nola_core.datasets.manifest import CLASSES_SCHEMA, LABELS_SCHEMA, MANIFEST_SCHEMA
from nola_core.datasets.names import changed_names, telling_nothing
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
    changed = changed_names(prepared.classes["name"].tolist(), prepared.classes["display_name"].tolist())
    if changed:
        shown = ", ".join(f"{name} -> {text}" for name, text in changed[:10])
        print(f"  {len(changed)} class names are rewritten for texts: {shown}" + (", ..." if len(changed) > 10 else ""))
    nothing = telling_nothing(prepared.classes["display_name"].tolist())
    if nothing:
        shown = ", ".join(nothing[:5]) + (", ..." if len(nothing) > 5 else "")
        print(f"  {len(nothing)} class names tell CLIP nothing ({shown}): give them words in the class list")
