"""Stage `embed`: images -> a feature store a split, for one of the two backbones."""

from typing import Literal

from nola_core.backbones.check import check_pair
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.config import load
from nola_core.datasets import image_opener, load_definition
from nola_core.device import device
from nola_core.extraction import extract
from nola_core.files import read_table
from nola_core.stages.paths import Paths


def run(paths: Paths, role: Literal["clip", "ssl"]) -> None:
    """Embed every usable image with the CLIP or the self-supervised tower; rows already known are not computed again."""
    definition = load_definition(paths.root, paths.dataset)
    options = load(paths.root).embed
    pair = load_pair(definition.backbones or options.backbones)
    check_pair(pair, root=paths.root)  # both: a model that cannot be had shall not be found out after hours with the other
    place = device()
    if role == "clip":
        encoder = load_clip(pair.clip, root=paths.root, device=place).image
    else:
        encoder = load_ssl(pair.ssl, root=paths.root, device=place)
    manifest = read_table(paths["manifest.parquet"])
    computed = extract(
        encoder,
        manifest,
        image_opener(paths.root, paths.dataset),
        role=role,
        out=paths["features"] / role,
        cache=paths.cache,
        device=place,
        precision=options.precision,
    )
    print(f"{int(manifest['ok'].sum()):,} images in the {role} store, {computed:,} of them embedded now")
