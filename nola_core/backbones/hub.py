"""The Hugging Face Hub, asked before anything long begins: are the files here already, are they there, may we have them?

Its own client tries an unreachable hub again for the better part of a minute, and looks for news of files it has. Here files
that are in its cache are taken as they are, without network, and for others one request says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

from nola_core.errors import NolaError

TIMEOUT = 10.0  # seconds to connect, and to answer
BRING = (
    "Without network, copy the model here as docs/backbones.md says and name its folder or file in the data set's `backbones`."
)


@dataclass(frozen=True)
class Weights:
    """A file a model needs.

    Attributes:
        place: its path, or where it will be downloaded from.
        size: in bytes, None where nobody said.
        here: whether it is on this machine.
    """

    place: str
    size: int | None
    here: bool

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else f"{self.size / 1e6:,.1f} MB"
        return f"{self.place} ({size}{'' if self.here else ', to be downloaded'})"


def locate(repo: str, names: Sequence[str], *, what: str) -> Weights:
    """The first of `names` that a repository has: in the local cache, else on the hub. Downloads nothing.

    Args:
        repo: OWNER/NAME or OWNER/NAME@REVISION.
        what: the model, for messages.

    Raises:
        NolaError: the file is not here and cannot be had: no network, no such repository or file, or a licence not accepted.
    """
    repo, _, revision = repo.partition("@")
    for name in names:
        path = try_to_load_from_cache(repo, name, revision=revision or None)
        if isinstance(path, str):
            return Weights(path, Path(path).stat().st_size, here=True)
    if constants.is_offline_mode():
        raise NolaError(
            f"{what}: {repo} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to fetch it. {BRING}"
        )
    for name in names:
        try:
            found = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision or None), timeout=TIMEOUT)
            return Weights(f"{repo}/{name}", found.size, here=False)
        except EntryNotFoundError:
            continue
        except GatedRepoError:
            raise NolaError(
                f"{what}: {repo} is gated; accept its licence on its page of the hub and put a token into HF_TOKEN."
            ) from None
        except RepositoryNotFoundError:
            raise NolaError(
                f"{what}: the hub has no repository {repo} that this account can see; look at the name, or at HF_TOKEN."
            ) from None
        except Exception as error:  # the client's HTTP library has been another one in each of its major versions
            if type(error).__name__ == "ReadTimeout":  # connected, but slow: the client itself has more patience
                return Weights(f"{repo}/{name}", None, here=False)
            short = " ".join(str(error).split())[:200] or type(error).__name__
            raise NolaError(
                f"{what}: its weights are not here, and the hub cannot be asked for {repo} ({short}). {BRING}"
            ) from None
    raise NolaError(f"{what}: {repo} has none of the files {', '.join(names)}.")


@contextmanager
def without_network(condition: bool) -> Iterator[None]:
    """While it lasts and `condition` holds, the hub's client takes files from its cache and asks nobody for newer ones."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or condition
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
