"""What every reader is: a list of entries, and the bytes of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Found:
    """One entry of a collection, not yet opened. `path`, `shard` and `row` are what `Reader.read` needs to find it again."""

    image_id: str
    path: str
    shard: str
    row: int
    split: str | None
    label: str | None
    problem: str = ""
    """Why the entry cannot be read, where the list itself shows it; it becomes the `reason` of the manifest."""


class Reader(Protocol):
    """A source of images."""

    def scan(self) -> Iterator[Found]:
        """Every entry, in a fixed order. Called more than once; memory does not grow with the collection."""

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        """The encoded bytes of one entry; called from several threads at a time.

        Raises:
            OSError: the entry is not there any more or cannot be read.
        """

    def class_names(self) -> list[str]:
        """Class names the source itself carries, or an empty list."""
