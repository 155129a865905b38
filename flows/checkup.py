"""Whether this machine and this project can do what NoLA asks of them: one finding a thing, with what to do about it.

Each check is quick and imports no torch, except `weights`. No check prints a key, and none changes a file that stays.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil

from flows.environment import QUIET, running_server
from flows.project import is_project
from nola_core.config import Settings, load
from nola_core.device import cache_root, workers
from nola_core.errors import NolaError

Level = Literal["ok", "warn", "fail"]

GIB = 2**30
MEMORY = 4.0
"""GiB of free memory below which a stage may be killed: torch, a ViT-B and its batches."""
DISK = 5.0
"""GiB of free disk for weights and feature stores of a small collection."""
FULL = 0.2
"""GiB of free disk below which a stage cannot write its results."""
PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "faiss", "numpy", "pandas", "dvc", "prefect")
CODECS = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "libtiff": "TIFF", "jpg_2000": "JPEG 2000"}
"""Codec of Pillow -> the format it decodes."""
REPLY_SECONDS = 2.0
TRACKING = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "PREFECT_SERVER_ANALYTICS_ENABLED")


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        name: the thing, such as `memory`.
        level: `ok`; `warn`, it may fail or be slow; `fail`, it will fail.
        found: what there is, in a few words.
        fix: what to do; empty if nothing.
    """

    name: str
    level: Level
    found: str
    fix: str = ""


def quick(root: Path) -> Iterator[Finding]:
    """All findings that need no torch.

    Args:
        root: the project's folder, or, outside of one, the working directory.
    """
    yield machine()
    yield memory()
    yield gpu()
    yield from versions()
    yield images()
    for name, place in _places(root).items():
        yield writable(name, place)
    yield disk(root)
    yield server(root)
    yield telemetry()
    if not is_project(root):
        yield Finding("project", "warn", f"{root} is not inside one", "make one with `nola init`; `nola predict` needs none.")
        yield keys(None)
        return
    yield repository(root)
    try:
        settings = load(root)
    except NolaError as error:
        yield Finding("settings", "fail", str(error), "correct params.yaml; `nola config` checks it.")
        yield keys(None)
        return
    yield Finding("settings", "ok", f"params.yaml is sound, preset {settings.preset}")
    yield keys(settings)
    yield from datasets(root, settings)


def machine() -> Finding:
    """System, cores, and the threads that decode images."""
    what = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    try:
        return Finding("machine", "ok", f"{what}, {workers()} workers")
    except NolaError as error:
        return Finding("machine", "fail", what, str(error))


def memory() -> Finding:
    """Free memory."""
    known = psutil.virtual_memory()
    what = f"{known.available / GIB:.1f} of {known.total / GIB:.1f} GiB free"
    if known.available >= MEMORY * GIB:
        return Finding("memory", "ok", what)
    return Finding("memory", "warn", what, f"close other programs, or set NOLA_WORKERS=1: a stage may need {MEMORY:.0f} GiB.")


def gpu() -> Finding:
    """The GPUs that the driver lists, against `NOLA_DEVICE`."""
    wanted = os.environ.get("NOLA_DEVICE") or "auto"
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted, re.ASCII):
        return Finding("gpu", "fail", f"NOLA_DEVICE={wanted} is not a device", "use auto, cpu, cuda or cuda:0.")
    names = gpu_models()
    listed = ", ".join(names) or "none"
    if wanted == "cpu":
        return Finding("gpu", "ok", f"{listed}; not used, NOLA_DEVICE=cpu")
    number = int(wanted.partition(":")[2] or 0)
    if wanted != "auto" and number >= len(names):
        return Finding(
            "gpu", "fail", f"{listed}, but NOLA_DEVICE={wanted}", "unset NOLA_DEVICE, or check the driver: nvidia-smi."
        )
    if not names:
        return Finding("gpu", "ok", "none; stages compute on the CPU")
    if "+cpu" in (_version("torch") or ""):
        return Finding("gpu", "warn", f"{listed}, but this torch is built for CPUs", "install torch with CUDA.")
    return Finding("gpu", "ok", listed)


def gpu_models() -> list[str]:
    """Model and memory of each GPU, as nvidia-smi lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    ask = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listing = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [" ".join(line.split()) for line in listing.stdout.splitlines() if line.strip()] if listing.returncode == 0 else []


def versions() -> Iterator[Finding]:
    """The versions of what matters; then each package that is absent, or that NoLA does not accept."""
    shown = [f"python {platform.python_version()}", f"nola {_version('nola') or 'from a checkout'}"]
    shown += [f"{package} {_version(package) or 'missing'}" for package in PACKAGES]
    yield Finding("versions", "ok", ", ".join(shown))
    for name, wanted, installed in _unmet():
        have = f"{name} {installed}" if installed else f"{name} is not installed"
        level: Level = "warn" if installed else "fail"
        yield Finding("versions", level, f"{have}; NoLA needs {name}{wanted}", f"pip install '{name}{wanted}'")


def images() -> Finding:
    """The image formats that this Pillow decodes."""
    from PIL import features

    absent = [format_ for codec, format_ in CODECS.items() if not features.check(codec)]
    if not absent:
        return Finding("images", "ok", f"Pillow decodes {', '.join(CODECS.values())}, BMP, GIF")
    what = f"this Pillow cannot decode {', '.join(absent)}; such images will be listed as unreadable"
    return Finding("images", "warn", what, "pip install --force-reinstall pillow")


def writable(name: str, place: Path) -> Finding:
    """Whether a file can be made in a folder, or in the nearest one above that exists."""
    folder = _existing(place)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding(name, "ok", f"{place}, writable")
    except OSError as error:
        return Finding(
            name, "fail", f"{place} cannot be written: {error.strerror}", f"give yourself the right to write in {folder}."
        )


def disk(root: Path) -> Finding:
    """Free disk where the project lies."""
    free = shutil.disk_usage(_existing(root)).free / GIB
    what = f"{free:.1f} GiB free at {root}"
    if free >= DISK:
        return Finding("disk", "ok", what)
    fix = "make room: `nola clean` deletes what can be computed again, `dvc gc -w` old results."
    return Finding("disk", "warn" if free >= FULL else "fail", what, fix)


def server(root: Path) -> Finding:
    """The Prefect server that the next run reports to."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        home = Path(os.environ.get("PREFECT_HOME") or root / ".prefect").expanduser()
        found = running_server(home)
        return Finding(
            "server", "ok", f"{_host(found)} answers" if found else "none; a run starts one of its own for as long as it takes"
        )
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=REPLY_SECONDS):
            return Finding("server", "ok", f"{_host(url)} answers (PREFECT_API_URL)")
    except urllib.error.HTTPError as error:
        return Finding(
            "server", "warn", f"{_host(url)} answers with status {error.code}", "check PREFECT_API_URL and PREFECT_API_KEY."
        )
    except (OSError, ValueError):
        fix = "start that server, or unset PREFECT_API_URL: a run then uses `nola server` or one of its own."
        return Finding("server", "fail", f"{_host(url)} does not answer (PREFECT_API_URL)", fix)


def telemetry() -> Finding:
    """Whether Prefect and DVC send anything."""
    set_otherwise = [name for name in TRACKING if _true(os.environ.get(name, QUIET[name])) != _true(QUIET[name])]
    if not set_otherwise:
        return Finding("telemetry", "ok", "off")
    return Finding(
        "telemetry", "warn", f"allowed by {', '.join(set_otherwise)}", f"unset {' '.join(set_otherwise)}: the default is off."
    )


def repository(root: Path) -> Finding:
    """The git and DVC repositories around the project."""
    dvc = next((folder / ".dvc" for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), None)
    if dvc is None:
        return Finding("repository", "fail", f"{root} is in no DVC repository", "nola init")
    if shutil.which("git") is None:
        return Finding("repository", "fail", "git is not installed, and DVC needs it", "install git.")
    settings = "".join(path.read_text() for path in (dvc / "config", dvc / "config.local") if path.is_file())
    scm = any((folder / ".git").exists() for folder in (dvc.parent, *dvc.parent.parents))
    if not scm and not re.search(r"no_scm\s*=\s*true", settings, re.IGNORECASE):
        return Finding("repository", "fail", f"{dvc.parent} is no git repository, and DVC needs one", f"git init {dvc.parent}")
    return Finding("repository", "ok", f"{'git and DVC' if scm else 'DVC without git'}, {dvc.parent}")


def keys(settings: Settings | None) -> Finding:
    """Which keys are set, and whether the language model lacks one; never what they are."""
    present = [name for name in ("NOLA_LLM_KEY", "OPENAI_API_KEY", "HF_TOKEN", "PREFECT_API_KEY") if os.environ.get(name)]
    what = f"set: {', '.join(present)}" if present else "none is set"
    if settings is None or settings.describe.provider != "llm" or settings.describe.mode in ("replay", "plan"):
        return Finding("keys", "ok", what if present else f"{what}, and none is needed")
    from nola_core.descriptions.asking.endpoint import Endpoint

    try:
        endpoint = Endpoint.from_environment()
    except NolaError as error:
        return Finding("keys", "fail", what, str(error))
    if endpoint is not None:
        return Finding("keys", "ok", f"{what}; descriptions come from {endpoint.host}")
    fix = "export OPENAI_API_KEY=..., or OPENAI_BASE_URL for a server of your own (docs/descriptions.md)."
    return Finding("keys", "warn", f"{what}, and describe.provider is llm: only answers that are stored can be used", fix)


def datasets(root: Path, settings: Settings) -> Iterator[Finding]:
    """The data sets: one line for all that are sound, and one for each that is not."""
    from nola_core.datasets.definition import DIGITS, load_definition

    sound = []
    for name in settings.datasets:
        try:
            source = load_definition(root, name).source
        except NolaError as error:
            yield Finding("data", "fail", f"{name}: {error}", f"correct data/{name}.yaml, or: nola remove {name}")
            continue
        if source != DIGITS and not any(mark in source for mark in "*{") and not Path(source).exists():
            yield Finding("data", "fail", f"{name}: {source} does not exist", f"correct `source` in data/{name}.yaml.")
        else:
            sound.append(name)
    if sound or not settings.datasets:
        yield Finding("data", "ok", f"{', '.join(sound)}: images are there" if sound else "no data set yet: nola add NAME IMAGES")


def weights(root: Path) -> Iterator[Finding]:
    """For each pair of backbones in use, whether its weights are here or can be downloaded. Imports torch."""
    from nola_core.datasets.definition import load_definition

    try:
        settings = load(root)
    except NolaError:
        return  # `quick` has said so
    chosen: dict[str, str | dict[str, Any]] = {}
    for name in settings.datasets:
        try:
            choice = load_definition(root, name).backbones or settings.embed.backbones
        except NolaError:
            continue
        chosen.setdefault(choice if isinstance(choice, str) else f"own pair of {name}", choice)
    for name, choice in chosen.items():
        yield _pair(root, name, choice)


def _pair(root: Path, name: str, choice: str | dict[str, Any]) -> Finding:
    from nola_core.backbones.check import check_pair
    from nola_core.backbones.pairs import load_pair

    try:
        files = [file for found in check_pair(load_pair(choice), root=root).values() for file in found]
    except NolaError as error:
        return Finding("weights", "fail", f"{name}: {error}", "or take another pair: `nola backbones` lists them.")
    absent = [str(file) for file in files if not file.here]
    if absent:
        return Finding("weights", "ok", f"{name}: within reach, {'; '.join(absent)}")
    return Finding("weights", "ok", f"{name}: on this machine, {sum(file.size or 0 for file in files) / 1e6:,.0f} MB")


def _places(root: Path) -> dict[str, Path]:
    """Name -> a folder that a run writes to."""
    places = {"project": root, "cache": root / cache_root()} if is_project(root) else {"cache": root / cache_root()}
    home = os.environ.get("PREFECT_HOME")
    return {**places, "prefect home": Path(home).expanduser()} if home else places


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.absolute().parents) if folder.exists())


def _true(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _host(url: str | None) -> str:
    """What may be shown of an address."""
    try:
        parts = urlsplit(url or "")
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "an address that is none"


def _version(package: str) -> str | None:
    for name in ("faiss-gpu", "faiss-cpu") if package == "faiss" else (package,):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _unmet() -> Iterator[tuple[str, str, str | None]]:
    """Package, what NoLA requires of it, and what is installed, for each requirement that is not met."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("nola") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        installed = _version(wanted.name)
        if installed is None or not wanted.specifier.contains(installed, prereleases=True):
            yield wanted.name, str(wanted.specifier), installed
