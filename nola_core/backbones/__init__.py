"""The two frozen models of a run: a dual encoder and a self-supervised image encoder, by pair name."""

from nola_core.backbones.check import check_pair
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
    "check_pair",
    "load_clip",
    "load_pair",
    "load_ssl",
    "weights_sha256",
]
