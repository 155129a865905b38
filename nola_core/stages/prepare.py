"""Stage `prepare`: source images -> manifest, classes, labels."""

from nola_core.config import Prepare
from nola_core.datasets.definition import load_definition
from nola_core.datasets.manifest import prepare
from nola_core.datasets.names import changed_names, telling_nothing
from nola_core.inputs import Inputs
from nola_core.stages.paths import Paths
from nola_core.text import printable


def run(paths: Paths, inputs: Inputs) -> None:
    """List every image of the collection, usable or not, with its split, and the truth (if any) apart from it."""
    definition = load_definition(paths.root, paths.dataset)
    prepared = prepare(
        definition,
        max_pixels=inputs.options(Prepare).max_pixels,
        folder=paths.folder,
        corrections=inputs.values.get("corrections"),
    )
    print(f"{prepared.images:,} images, {prepared.unusable:,} of them not usable, {len(prepared.classes)} classes")
    for image_id, reason in prepared.reasons:
        print(f"  not usable: {printable(image_id)}: {printable(reason)}")
    if prepared.unusable > len(prepared.reasons):
        print(f"  and {prepared.unusable - len(prepared.reasons):,} more: column `reason` of {paths['manifest.parquet']}")
    if prepared.trainable < len(prepared.classes):
        print(
            f"WARNING: {prepared.trainable:,} usable train image{'s' * (prepared.trainable != 1)} for {len(prepared.classes):,} "
            "classes: classes without an image of their own teach nothing; add images or shorten the class list"
        )
    if prepared.copies:
        print(f"{prepared.copies:,} images are copies of another; {prepared.leaked:,} images outside train have a copy in train")
    changed = changed_names(prepared.classes["name"].tolist(), prepared.classes["display_name"].tolist())
    if changed:
        shown = printable(", ".join(f"{name} -> {text}" for name, text in changed[:10]))
        print(f"  {len(changed)} class names are rewritten for texts: {shown}" + (", ..." if len(changed) > 10 else ""))
    nothing = telling_nothing(prepared.classes["display_name"].tolist())
    if nothing:
        shown = printable(", ".join(nothing[:5])) + (", ..." if len(nothing) > 5 else "")
        print(f"  {len(nothing)} class names tell CLIP nothing ({shown}): give them words in the class list")
