"""Stage `prepare`: source images -> manifest, classes, labels."""

from nola_core import datasets
from nola_core.config import load
from nola_core.stages.paths import Paths


def run(paths: Paths) -> None:
    """List every image of the collection, usable or not, with its split, and the truth (if any) apart from it."""
    settings = load(paths.root)
    definition = datasets.load_definition(paths.root, paths.dataset)
    prepared = datasets.prepare(definition, max_pixels=settings.prepare.max_pixels, folder=paths.folder)
    print(f"{prepared.images:,} images, {prepared.unusable:,} of them not usable, {len(prepared.classes)} classes")
    for image_id, reason in prepared.reasons:
        print(f"  not usable: {''.join(c if c.isprintable() else repr(c)[1:-1] for c in image_id)}: {reason}")
    if prepared.unusable > len(prepared.reasons):
        print(f"  and {prepared.unusable - len(prepared.reasons):,} more: column `reason` of {paths['manifest.parquet']}")
    if prepared.copies:
        print(f"{prepared.copies:,} images are copies of another; {prepared.leaked:,} images outside train have a copy in train")
