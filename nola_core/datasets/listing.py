"""Iterate over a collection in little memory: its size, its split, and work on its entries in threads."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers import Found, Reader
from nola_core.errors import NolaError

T = TypeVar("T")
R = TypeVar("R")


class Survey:
    """The size of a collection and its split: the source's own split, or a hold-out by hash.

    The hold-out does not depend on labels. As a share it is stable when the collection grows; as a number it is exact.
    """

    def __init__(self, name: str, holdout: float, hashes: np.ndarray, *, own: Counter[str]) -> None:
        self._name, self._own, self._count = name, own, len(hashes)
        if holdout >= 1:
            held = min(int(holdout), len(hashes))
            self._threshold = int(np.partition(hashes, len(hashes) - held)[len(hashes) - held]) if held else 2**64
        else:
            self._threshold = int((1 - holdout) * 2**64)
        test = int((hashes >= np.uint64(self._threshold)).sum()) if self._threshold < 2**64 else 0
        self.splits = dict(own) if own else {"train": len(hashes) - test, "test": test}
        """Split -> number of entries."""

    def __len__(self) -> int:
        return self._count

    def split_of(self, entry: Found) -> str:
        """`train`, `val` or `test`."""
        if self._own:
            return str(entry.split)
        return "test" if _hash(self._name, entry) >= self._threshold else "train"


def survey(definition: DatasetDefinition, reader: Reader) -> Survey:
    """Count the entries of a reader, using eight bytes of memory each.

    Raises:
        NolaError: two entries have the same id, or only some have a split.
    """
    hashes, own, without = array("Q"), Counter[str](), ""
    for entry in reader.scan():
        hashes.append(_hash(definition.name, entry))
        if entry.split is None:
            without = entry.image_id
        else:
            own[entry.split] += 1
    if 0 < own.total() < len(hashes):
        raise NolaError(f"{definition.source}: other images have a split, but '{without}' has none; give every image a split.")
    values = np.array(hashes, dtype=np.uint64)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < len(values):
        twice = set(distinct[counts > 1].tolist())
        image_id = next(entry.image_id for entry in reader.scan() if _hash(definition.name, entry) in twice)
        raise NolaError(f"{definition.source} lists the image '{image_id}' more than once; remove the repetitions.")
    return Survey(definition.name, definition.images.holdout, values, own=own)


def ahead(work: Callable[[T], R], items: Iterable[T], *, at_once: int) -> Iterator[R]:
    """Results of `work` in order, computed in threads slightly ahead of the consumer; items are fetched as needed."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def _hash(name: str, entry: Found) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}/{entry.image_id}".encode()).digest()[:8], "big")
