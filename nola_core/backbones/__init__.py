"""The two frozen models of a run: an open_clip dual encoder and a timm self-supervised encoder, by pair name."""

from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.encoder import ImageEncoder, weights_sha256
from nola_core.backbones.pairs import ClipSpec, Pair, SslSpec, load_pair
from nola_core.backbones.ssl import load_ssl

__all__ = [
    "Clip",
    "ClipSpec",
    "ImageEncoder",
    "Pair",
    "SslSpec",
    "load_clip",
    "load_pair",
    "load_ssl",
    "weights_sha256",
]
