"""The settings Prefect and DVC get when the user chose none.

Import nothing heavy here: the settings must be in place before Prefect is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from flows.project import project_root

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def configure() -> None:
    """Fill in the environment variables the user did not set: no telemetry, Prefect's files inside the project.

    If `nola server` of this project is up and no other server was named, runs report to it.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    home = Path(os.environ.setdefault("PREFECT_HOME", str(project_root() / ".prefect"))).expanduser()
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.pop("PREFECT_API_URL", None)  # Prefect takes an empty one for an address
        url = running_server(home)
        if url:
            os.environ["PREFECT_API_URL"] = url


def server_file(home: Path) -> Path:
    """The file in which `nola server` notes its API address."""
    return home / "server.url"


def running_server(home: Path) -> str | None:
    """The API address noted by `nola server` under `home`, if that server answers."""
    try:
        url = server_file(home).read_text().strip()
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return url if reply.status == 200 else None
    except (OSError, ValueError, urllib.error.URLError):
        return None


def child_environment() -> dict[str, str]:
    """The environment of a stage: this interpreter first on the path, unbuffered, untracked."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **QUIET, "PATH": path, "PYTHONUNBUFFERED": "1"}


def gpu_in_use() -> bool:
    """Whether stages will compute on a CUDA device, told without importing torch (`NOLA_DEVICE`, default `auto`)."""
    device = os.environ.get("NOLA_DEVICE") or "auto"
    if device != "auto":
        return device.startswith("cuda")
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return installed_gpus() > 0


def installed_gpus() -> int:
    """How many CUDA devices this machine has, whatever is visible."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines()) if listing.returncode == 0 else 0


def gpu_names() -> list[str]:
    """The devices stages may be spread over, as `CUDA_VISIBLE_DEVICES` names them; empty where the user chose one.

    `NOLA_DEVICE=cuda:1` is such a choice; `CUDA_VISIBLE_DEVICES` limits and orders them.
    """
    if ":" in os.environ.get("NOLA_DEVICE", ""):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(installed_gpus())]
    names = [name.strip() for name in visible.split(",")]
    return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]  # so does CUDA
