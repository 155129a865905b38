"""WebDataset shards: tar files in which the files of one sample share a key (`000017.jpg`, `000017.cls`)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import NAME_FILES, SUFFIXES, Found, check_size, lines_of, split_in_path, split_named
from nola_core.errors import NolaError
from nola_core.text import printable

LABEL_SUFFIXES = ("cls", "txt", "json")
LABEL_KEYS = ("label", "class", "class_name", "cls", "category")
LABEL_BYTES = 2**20
"""Larger label files raise an error instead of being read into memory."""
HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""Members that tarfile always reads completely: long names and extra fields of the following member."""


def from_definition(definition: DatasetDefinition) -> WebDatasetReader:
    """The reader for a definition; see `WebDatasetReader`."""
    images = definition.images
    return WebDatasetReader(Path(definition.source), shards=images.shards, splits=images.splits, labels=images.labels != "none")


class WebDatasetReader:
    """One tar file, or those of a folder. An entry's `row` is the byte position of its tar header, so reading needs no index.

    The id of an image is its shard (without `.tar`) and its name in the shard. The split of a shard is the word train, val or
    test in its path. The label of a sample is the content of its `.cls` or `.txt` file, or the key `label`, `class`, ... in its
    `.json`; labels are read only on request.

    Args:
        source: a tar file or a folder.
        shards: a pattern for the files of the folder, such as `train-*.tar`.
        splits: split names in the shards' paths -> train, val, test; shards of other splits are left out.
        labels: whether to read labels.
    """

    def __init__(
        self, source: Path, *, shards: str | None = None, splits: Mapping[str, str] | None = None, labels: bool = False
    ) -> None:
        if source.is_dir():
            self.root = source
            below = (path.relative_to(source) for path in source.rglob(shards or "*.tar") if path.is_file())
            names = sorted(path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts))
        else:
            self.root, names = source.parent, [source.name] if source.is_file() else []
        if not names:
            raise NolaError(f"{source} contains no shards ({shards or '*.tar'}); check the path, or set images.shards.")
        words = [split_in_path(name, splits) for name in names] if source.is_dir() else [None] * len(names)
        if splits is None and len(set(words)) == 1:  # a single split counts as no split
            words = [None] * len(names)
        if splits is None and None in words and any(words):
            raise NolaError(
                f"{source}: other shard names contain their split, but '{names[words.index(None)]}' does not; rename it."
            )
        named = [
            (name, None if word is None else split_named(word, splits, source=source))
            for name, word in zip(names, words, strict=True)
        ]
        self.shards = [(name, split) for name, split in named if splits is None or split is not None]
        if not self.shards:
            raise NolaError(
                f"{source}: no shard name contains one of the words {', '.join(splits or ())} from images.splits; correct it."
            )
        self.labels = labels

    def scan(self) -> Iterator[Found]:
        yield from self._scan(labels=self.labels)

    def _scan(self, *, labels: bool) -> Iterator[Found]:
        for shard, split in self.shards:
            yield from self._scan_shard(shard, split, labels)

    def _scan_shard(self, shard: str, split: str | None, labels: bool) -> Iterator[Found]:
        images: list[tuple[str, int]] = []
        label: str | None = None
        current, seen = None, set[int]()
        for tar, member in self._members(shard):
            key, suffix = _key_and_suffix(member.name)
            if key != current:
                yield from self._sample(shard, split, current, images, label)
                images, label, current = [], None, key
                if hash(key) in seen:
                    raise NolaError(
                        f"{self.root / shard}: the key '{key}' occurs twice; the files of a sample must be adjacent, so write "
                        "the shard again."
                    )
                seen.add(hash(key))
            if f".{suffix.rpartition('.')[2]}" in SUFFIXES:
                if any(name == member.name for name, _ in images):
                    raise NolaError(f"{self.root / shard}: '{member.name}' occurs twice; write the shard again.")
                images.append((member.name, member.offset))
            elif labels and suffix in LABEL_SUFFIXES and label is None:
                label = self._label(tar, member, suffix, shard)
        yield from self._sample(shard, split, current, images, label)

    def _sample(
        self, shard: str, split: str | None, key: str | None, images: list[tuple[str, int]], label: str | None
    ) -> Iterator[Found]:
        stem = shard.removesuffix(".tar")
        plain = [image for image in images if f".{_key_and_suffix(image[0])[1]}" in SUFFIXES]
        for name, offset in plain or images:  # next to 17.jpg, 17.seg.png is a mask; alone it is the image
            yield Found(f"{stem}/{name}", name, shard, offset, split, label)
        if key is not None and not images:
            yield Found(f"{stem}/{key}", key, shard, -1, split, label, "the sample has no image file")

    def _members(self, shard: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        path = self.root / shard
        try:
            with tarfile.open(path, "r:", tarinfo=_Member) as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would remember every member; we need each once
                    hidden = any(part.startswith(".") for part in Path(member.name).parts)
                    if member.isfile() and not hidden and "." in Path(member.name).name:
                        yield tar, member
                with path.open("rb") as stream:  # tarfile does not report a truncated header
                    stream.seek(tar.offset)
                    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                        raise tarfile.ReadError(f"no tar header at byte {tar.offset}")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise NolaError(
                f"the shard {path} cannot be read ({error}); it must be a complete, uncompressed tar file: download or write "
                "it again."
            ) from None

    def _label(self, tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, shard: str) -> str | None:
        what = f"{self.root / shard}: the label file '{printable(member.name)}'"
        if member.issparse() or member.size > LABEL_BYTES:
            reason = "is sparse" if member.issparse() else f"has {member.size:,} bytes, but the limit is {LABEL_BYTES:,}"
            raise NolaError(f"{what} {reason}; write the shard again, or set images.labels to none.")
        stream = tar.extractfile(member)
        try:
            text = (b"" if stream is None else stream.read()).decode("utf-8").strip()
            values: Any = json.loads(text) if suffix == "json" else text
        except (ValueError, RecursionError):
            raise NolaError(
                f"{what} is not valid UTF-8{' JSON' * (suffix == 'json')}; correct it, or set images.labels to none."
            ) from None
        if suffix == "json":
            found = [values[key] for key in LABEL_KEYS if key in values] if isinstance(values, dict) else [values]
            return str(found[0]) if found and isinstance(found[0], str | int) else None
        return text or None

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        with (self.root / shard).open("rb") as stream:
            stream.seek(row)
            try:
                with tarfile.TarFile(fileobj=stream, tarinfo=_Member) as tar:
                    member = tar.next()
                    if member is None or member.name != path:
                        raise OSError(f"the shard {shard} has changed: '{path}' is no longer at byte {row}")
                    if member.issparse():
                        raise OSError("it is a sparse file, not an image")
                    check_size(member.size)
                    content = tar.extractfile(member)
                    data = b"" if content is None else content.read()
            except tarfile.TarError as error:
                raise OSError(f"the shard {shard} is damaged at byte {row} ({error})") from None
        return data

    def class_names(self) -> list[str]:
        """The lines of classnames.txt or classes.txt next to the shards, or else every label in alphabetical order."""
        for name in NAME_FILES:
            if (self.root / name).is_file():
                try:
                    return lines_of(self.root / name)
                except (OSError, UnicodeDecodeError) as error:
                    raise NolaError(f"the class names {self.root / name} cannot be read ({error}).") from None
        return sorted({found.label for found in self._scan(labels=True) if found.label is not None})


class _Member(tarfile.TarInfo):
    """A member that rejects very large headers."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in HEADERS and self.size > LABEL_BYTES:
            raise tarfile.SubsequentHeaderError(f"a header claims {self.size:,} bytes")  # type: ignore[attr-defined]
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Key and lower-case suffix of a file in a shard; the key ends at the first dot of the file name."""
    folder, slash, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return folder + slash + key, suffix.lower()
