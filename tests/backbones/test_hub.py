"""Files from the hub: used from the cache without network access, or refused with a clear message."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import save_file

from nola_core.backbones.check import check_pair
from nola_core.backbones.clip import load_clip
from nola_core.backbones.hub import locate, without_network
from nola_core.backbones.pairs import ClipSpec, SslSpec, load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.errors import NolaError

ANSWERS = {  # the hub's answer for a file: status, error code, size
    "/me/model/resolve/main/b.bin": (200, "", 2_500_000),
    "/me/model/resolve/v2/a.safetensors": (200, "", 9),
    "/me/gated/resolve/main/a.safetensors": (403, "GatedRepo", 0),
    "/me/secret/resolve/main/a.safetensors": (401, "RepoNotFound", 0),
}
NAMES = ("a.safetensors", "b.bin")


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        status, code, size = ANSWERS.get(self.path, (404, "EntryNotFound", 0))
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", constants.HUGGINGFACE_CO_URL_TEMPLATE, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An endpoint without a server, and an empty cache."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    use(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "cache")
    return tmp_path / "cache"


def put(cache: Path, repo: str, name: str) -> Path:
    """An empty snapshot of a repository in the hub's cache format; the path of a file in it."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return folder / "snapshots" / ("0" * 40) / name


def test_the_first_file_there_is_with_its_size(hub: None) -> None:
    found = locate("me/model", NAMES, what="model m")
    assert (found.place, found.size, found.here) == ("me/model/b.bin", 2_500_000, False)
    assert str(found) == "me/model/b.bin (2.5 MB, to be downloaded)"
    assert locate("me/model@v2", NAMES, what="model m").size == 9


@pytest.mark.parametrize(
    ("repo", "sentence"),
    [
        ("me/gated", r"model m: me/gated is gated; accept its licence on its hub page and put a token into HF_TOKEN"),
        ("me/secret", r"model m: the hub has no repository me/secret that this account can see"),
        ("me/empty", r"model m: me/empty has none of the files a.safetensors, b.bin"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(hub: None, repo: str, sentence: str) -> None:
    with pytest.raises(NolaError, match=sentence):
        locate(repo, NAMES, what="model m")


def test_no_network_is_one_sentence_for_every_kind_of_model(nobody: Path) -> None:
    sentence = (
        r"its weights are not on this machine, and the hub cannot be reached for {} \(.*refused"
        r".*copy the model here \(see docs/backbones.md"
    )
    with pytest.raises(
        NolaError, match=r"ViT-B-32-quickgelu / openai: " + sentence.format("timm/vit_base_patch32_clip_224.openai")
    ):
        load_clip(ClipSpec(model="ViT-B-32-quickgelu", pretrained="openai"))
    with pytest.raises(NolaError, match="me/mine: " + sentence.format("me/mine")):
        load_clip(ClipSpec(model="hf-hub:me/mine"))
    with pytest.raises(
        NolaError, match=r"SSL model vit_base_patch16_224.dino: " + sentence.format("timm/vit_base_patch16_224.dino")
    ):
        load_ssl(SslSpec(model="vit_base_patch16_224.dino"))
    with pytest.raises(NolaError, match="me/mine: " + sentence.format("me/mine")):
        load_ssl(SslSpec(model="hf-hub:me/mine"))


def test_a_client_told_to_stay_offline_is_told_so(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NolaError, match=r"me/mine is not in the cache .*, and HF_HUB_OFFLINE does not allow a download"):
        locate("me/mine", NAMES, what="model m")


def test_files_in_the_cache_need_no_network(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = timm.create_model("test_vit", pretrained=False)
    weights = put(nobody, "timm/test_vit.r160_in1k", "pytorch_model.bin")  # timm would look for the other format first
    torch.save(module.state_dict(), weights)
    encoder = load_ssl(SslSpec(model="test_vit.r160_in1k"))
    module.reset_classifier(0)  # type: ignore[operator]
    assert all(torch.equal(value, encoder.module.state_dict()[name]) for name, value in module.state_dict().items())
    assert not constants.HF_HUB_OFFLINE


def test_the_papers_pair_is_checked_without_being_built(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(open_clip, "create_model")
    save_file({"x": torch.zeros(3)}, put(nobody, "timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors"))
    ssl = put(nobody, "timm/vit_base_patch16_224.dino", "model.safetensors")
    with pytest.raises(NolaError, match=r"SSL model vit_base_patch16_224\.dino"):
        check_pair(load_pair("paper"))
    save_file({"x": torch.zeros(3)}, ssl)
    files = check_pair(load_pair("paper"))
    assert [file.here for role in ("clip", "ssl") for file in files[role]] == [True, True] and files["ssl"][0].place == str(ssl)


def test_staying_offline_ends_with_its_block() -> None:
    with pytest.raises(ZeroDivisionError), without_network(True):
        assert constants.is_offline_mode()
        1 / 0  # noqa: B018
    with without_network(False):
        assert not constants.is_offline_mode()
