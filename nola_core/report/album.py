"""The small pictures of the page, and the room they may take."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup
from PIL import Image

from nola_core.report.style import shown

SIDE = 144
"""Pixels of the longer side at most; the page shows them at about 100, phones have more pixels."""
TINY = 72
"""Images up to this size are saved nearly without loss, and the page enlarges them pixel by pixel."""
QUALITY = 80
ROOM = 7_000_000
"""Bytes of all pictures together, as they stand in the page."""

Mark = Literal["", "right", "wrong"]


@dataclass(frozen=True)
class Tile:
    """A picture with its caption.

    Attributes:
        number: a probability.
        title: before it in the first line, the predicted class; empty where a heading names it.
        note: a second line.
        mark: whether the prediction is right; empty where no label tells.
    """

    image_id: str
    number: str = ""
    title: str = ""
    note: str = ""
    mark: Mark = ""


class Album:
    """Encodes pictures in the order of the page until there is no more room.

    Args:
        image_of: image id -> the image, any size and mode.
        room: bytes.
    """

    def __init__(self, image_of: Callable[[str], Image.Image], *, room: int = ROOM) -> None:
        self._image_of = image_of
        self._encoded: dict[str, Markup] = {}
        self.restart(room)

    def restart(self, room: int) -> None:
        """Begin the page again with another room; what is encoded stays."""
        self.room, self.spent, self.left_out = room, 0, 0

    def picture(self, image_id: str) -> Markup | None:
        """An `<img>` that holds the picture; None where no room is left for it."""
        image = self._encoded.get(image_id)
        if image is None:
            if self.spent >= self.room:
                self.left_out += 1
                return None
            image = self._encoded[image_id] = _encoded(self._image_of(image_id), image_id)
        if self.spent + len(image) > self.room:
            self.left_out += 1
            return None
        self.spent += len(image)
        return image


def _encoded(image: Image.Image, image_id: str) -> Markup:
    small = image.convert("RGB")
    tiny = max(small.size) <= TINY
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=92 if tiny else QUALITY, subsampling=0 if tiny else 2, optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    kind = Markup(' class="tiny"') if tiny else ""
    address = f"data:image/jpeg;base64,{data}"
    return Markup('<img{} alt="{}" width="{}" height="{}" src="{}">').format(kind, shown(image_id), *small.size, address)
