"""Check files on the Hugging Face Hub before any long computation: are they cached, do they exist, may we download them?

The hub's own client retries an unreachable hub for most of a minute and looks for new versions of cached files. Here, cached
files are used without network access, and for other files a single request finds out what is wrong.
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
BRING = "Without network access, copy the model here (see docs/backbones.md) and set the data set's `backbones` to its path."


@dataclass(frozen=True)
class Weights:
    """A file a model needs.

    Attributes:
        place: its path, or the address it will be downloaded from.
        size: in bytes, None if unknown.
        here: whether it is on this machine.
    """

    place: str
    size: int | None
    here: bool

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else f"{self.size / 1e6:,.1f} MB"
        return f"{self.place} ({size}{'' if self.here else ', to be downloaded'})"


def locate(repo: str, names: Sequence[str], *, what: str) -> Weights:
    """The first of `names` that a repository has, in the local cache or else on the hub. Downloads nothing.

    Args:
        repo: OWNER/NAME or OWNER/NAME@REVISION.
        what: name of the model, for messages.

    Raises:
        NolaError: the file is not cached and cannot be downloaded: no network, no such repository or file, or a licence that is
            not accepted.
    """
    repo, _, revision = repo.partition("@")
    for name in names:
        path = try_to_load_from_cache(repo, name, revision=revision or None)
        if isinstance(path, str):
            return Weights(path, Path(path).stat().st_size, here=True)
    if constants.is_offline_mode():
        raise NolaError(
            f"{what}: {repo} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE does not allow a download. {BRING}"
        )
    for name in names:
        try:
            found = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision or None), timeout=TIMEOUT)
            return Weights(f"{repo}/{name}", found.size, here=False)
        except EntryNotFoundError:
            continue
        except GatedRepoError:
            raise NolaError(
                f"{what}: {repo} is gated; accept its licence on its hub page and put a token into HF_TOKEN."
            ) from None
        except RepositoryNotFoundError:
            raise NolaError(
                f"{what}: the hub has no repository {repo} that this account can see; check the name and HF_TOKEN."
            ) from None
        except Exception as error:  # each major version of the client uses a different HTTP library
            if type(error).__name__ == "ReadTimeout":  # connected, but slow: the client's own timeout is longer
                return Weights(f"{repo}/{name}", None, here=False)
            short = " ".join(str(error).split())[:200] or type(error).__name__
            raise NolaError(
                f"{what}: its weights are not on this machine, and the hub cannot be reached for {repo} ({short}). {BRING}"
            ) from None
    raise NolaError(f"{what}: {repo} has none of the files {', '.join(names)}; choose another repository.")


@contextmanager
def without_network(condition: bool) -> Iterator[None]:
    """A context in which, if `condition` is true, the hub's client uses its cache without network access."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or condition
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
