"""The two frozen models of a run: a dual encoder and a self-supervised image encoder, by pair name.

What is named here is loaded when it is asked for: `nola_core.backbones.pairs` needs no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    home: Any
    if name == "check_pair":
        from nola_core.backbones import check as home
    elif name in ("Clip", "load_clip"):
        from nola_core.backbones import clip as home
    elif name in ("ImageEncoder", "weights_sha256"):
        from nola_core.backbones import encoder as home
    elif name in ("ClipSpec", "Pair", "SslSpec", "load_pair"):
        from nola_core.backbones import pairs as home
    elif name == "load_ssl":
        from nola_core.backbones import ssl as home
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
