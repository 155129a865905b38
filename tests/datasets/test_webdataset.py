"""Shards: every image is found by the byte position of its header, whatever else the shard contains."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from nola_core.datasets.readers.webdataset import WebDatasetReader
from nola_core.errors import NolaError
from tests.datasets.sources import png, read, write_shard


def test_images_labels_and_splits_of_a_folder_of_shards(tmp_path: Path) -> None:
    long = "deep/" * 30 + "ü" * 40  # more than a plain tar header holds
    write_shard(
        tmp_path / "train-000.tar", {"01.jpg": png(1), "01.cls": b"3\n", "02.png": png(2), "02.json": b'{"label": "cat"}'}
    )
    write_shard(tmp_path / "train-001.tar", {f"{long}.jpg": png(3), f"{long}.txt": "café".encode()})
    write_shard(tmp_path / "val-000.tar", {"01.jpg": png(4)})
    reader = WebDatasetReader(tmp_path, labels=True)
    found = list(reader.scan())
    assert [(entry.image_id, entry.split, entry.label) for entry in found] == [
        ("train-000/01.jpg", "train", "3"),
        ("train-000/02.png", "train", "cat"),
        (f"train-001/{long}.jpg", "train", "café"),
        ("val-000/01.jpg", "val", None),
    ]
    assert [read(WebDatasetReader(tmp_path), entry) for entry in reversed(found)] == [png(4), png(3), png(2), png(1)]
    assert {entry.label for entry in WebDatasetReader(tmp_path).scan()} == {None}
    assert WebDatasetReader(tmp_path).class_names() == ["3", "café", "cat"]
    (tmp_path / "classnames.txt").write_text("a cat\na dog\n")
    assert reader.class_names() == ["a cat", "a dog"]
    assert {entry.split for entry in WebDatasetReader(tmp_path, shards="train-*.tar").scan()} == {None}


def test_samples_with_several_files(tmp_path: Path) -> None:
    files = {"1.jpg": png(1), "1.seg.png": png(2), "2.v1.jpg": png(3), "3.cls": b"1", ".hidden.png": b"", "._4.jpg": b""}
    found = list(WebDatasetReader(write_shard(tmp_path / "a.tar", files)).scan())
    assert [(entry.path, entry.problem) for entry in found] == [
        ("1.jpg", ""),
        ("2.v1.jpg", ""),
        ("3", "the sample has no image file"),
    ]


def test_keys_that_come_twice_are_named(tmp_path: Path) -> None:
    apart = write_shard(tmp_path / "a.tar", [("1.jpg", b"a"), ("2.jpg", b"b"), ("1.cls", b"0")])
    with pytest.raises(NolaError, match=r"a.tar: the key '1' occurs twice; the files of a sample must be adjacent"):
        list(WebDatasetReader(apart).scan())
    same = write_shard(tmp_path / "b.tar", [("1.jpg", b"a"), ("1.jpg", b"b")])
    with pytest.raises(NolaError, match=r"b.tar: '1.jpg' occurs twice"):
        list(WebDatasetReader(same).scan())


@pytest.mark.parametrize("keep", [300, 512, 700, 1600, 2300])
def test_a_shard_that_was_cut_off_is_named_wherever_it_was_cut(tmp_path: Path, keep: int) -> None:
    whole = write_shard(tmp_path / "a.tar", {f"{n}.jpg": bytes([n + 1]) * 600 for n in range(3)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:keep])
    with pytest.raises(NolaError, match=r"the shard .*cut.tar cannot be read \(.*download or write it again"):
        list(WebDatasetReader(tmp_path / "cut.tar").scan())


def test_compressed_and_absent_shards_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b\x08" + bytes(600))
    with pytest.raises(NolaError, match="it must be a complete, uncompressed tar file"):
        list(WebDatasetReader(tmp_path / "a.tar").scan())
    with pytest.raises(NolaError, match=r"contains no shards \(x-\*.tar\)"):
        WebDatasetReader(tmp_path, shards="x-*.tar")


def test_a_shard_written_anew_is_noticed(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", {"1.jpg": png(1), "2.jpg": png(2)})
    reader = WebDatasetReader(path)
    first, second = reader.scan()
    write_shard(path, {"2.jpg": png(2), "1.jpg": png(1)})
    with pytest.raises(OSError, match=r"the shard a.tar has changed: '1.jpg' is no longer at byte 0"):
        read(reader, first)
    path.write_bytes(path.read_bytes()[: second.row + 100])
    with pytest.raises(OSError, match=r"a.tar (has changed|is damaged)"):
        read(reader, second)


def write_claim(path: Path, name: str, size: int, *, sparse: bool, beside: str = "1.jpg") -> Path:
    """A shard with a member that claims to be large, after a good image; the file itself is a few kilobytes on disk."""
    write_shard(path, {beside: png(1)})
    member = tarfile.TarInfo(name)
    if sparse:  # GNU's old form: the header holds the real size and where the data lies
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[386:410] = b"%011o\0%011o\0" % (size - 1, 1)
        header[483:495] = b"%011o\0" % size
        header[124:136] = b"%011o\0" % 1
        header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
        body = bytes(header) + b"3".ljust(512, b"\0")
        with path.open("r+b") as stream:
            stream.seek(_end(path))
            stream.write(body + bytes(1024))
    else:
        member.size = size
        with path.open("r+b") as stream:
            stream.seek(_end(path))
            stream.write(member.tobuf(tarfile.GNU_FORMAT))
            stream.truncate(stream.tell() + size + 1024)  # a hole: nothing on disk
    return path


def _end(path: Path) -> int:
    """The position of the end-of-archive marker."""
    with tarfile.open(path) as tar:
        tar.getmembers()
        return int(tar.offset)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_a_label_file_that_claims_gigabytes_is_refused_unread(tmp_path: Path, suffix: str, sparse: bool) -> None:
    path = write_claim(tmp_path / "a.tar", f"1.{suffix}", 2**34 - 512 if not sparse else 2**33 - 1, sparse=sparse)
    with pytest.raises(
        NolaError, match=rf"a.tar: the label file '1.{suffix}' (is sparse|has .* bytes, but the limit is 1,048,576); write"
    ):
        list(WebDatasetReader(path, labels=True).scan())
    assert [entry.problem for entry in WebDatasetReader(path).scan()] == [""]


def test_an_image_that_claims_gigabytes_is_listed_and_not_read(tmp_path: Path) -> None:
    for sparse, reason in ((True, "sparse"), (False, "the limit for an image is")):
        path = write_claim(tmp_path / "a.tar", "2.jpg", 2**33 - 512, sparse=sparse)
        reader = WebDatasetReader(path)
        good, bad = reader.scan()
        assert read(reader, good) == png(1)
        with pytest.raises(OSError, match=reason):
            read(reader, bad)


def test_a_header_that_claims_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    header = tarfile.TarInfo("1.jpg")
    header.type, header.size = tarfile.XHDTYPE, 2**33 - 512
    with path.open("wb") as stream:
        stream.write(header.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(2**33 + 2048)
    with pytest.raises(NolaError, match=r"a.tar cannot be read \(a header claims 8,589,934,080 bytes\)"):
        list(WebDatasetReader(path).scan())


def test_hidden_shards_are_passed_over(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"1.jpg": png(1)})
    (tmp_path / "._a.tar").write_bytes(b"what a Mac leaves")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.tar").write_bytes(b"what a download leaves")
    assert [entry.image_id for entry in WebDatasetReader(tmp_path).scan()] == ["a/1.jpg"]
