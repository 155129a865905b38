"""The two frozen models of a run: a dual encoder and a self-supervised image encoder, by pair name."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nola_core.backbones.pairs import ClipSpec, Pair, SslSpec, load_pair

if TYPE_CHECKING:
    from nola_core.backbones.check import check_pair
    from nola_core.backbones.clip import Clip, load_clip
    from nola_core.backbones.encoder import ImageEncoder, weights_sha256
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

_LATER = {
    "Clip": "clip",
    "ImageEncoder": "encoder",
    "check_pair": "check",
    "load_clip": "clip",
    "load_ssl": "ssl",
    "weights_sha256": "encoder",
}
"""What loads torch, and the module it is in: names of pairs can be told without."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
