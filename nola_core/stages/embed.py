"""Stage `embed`: images -> a feature store a split, for one of the two backbones."""

from importlib import import_module

from nola_core.backbones.check import check_backbones
from nola_core.backbones.encoder import ImageEncoder
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.extraction import extract
from nola_core.files import read_table
from nola_core.inputs import Inputs, Role
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs, role: Role) -> None:
    """Embed every usable image with the CLIP or the self-supervised tower; rows already known are not computed again."""
    check_backbones(paths.root, paths.dataset)
    place = device()
    # By name, so that the features of one role do not depend on the code of the other.
    backbone = import_module(f"nola_core.backbones.{role}")
    encoder: ImageEncoder = backbone.load_encoder(inputs.spec(role), root=paths.root, device=place)
    manifest = read_table(paths["manifest.parquet"])
    computed = extract(
        encoder,
        manifest,
        image_opener(paths.root, paths.dataset),
        role=role,
        out=paths["features"] / role,
        cache=paths.cache,
        device=place,
        precision=inputs.values["precision"],
        code=inputs.code,
    )
    print(f"{int(manifest['ok'].sum()):,} images in the {role} store, {computed:,} of them embedded now")
