"""The Prefect server of this project, on this machine only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flows.environment import running_server, server_file


def serve(port: int = 4200) -> None:
    """Become `prefect server start` on 127.0.0.1 with its data in `PREFECT_HOME`; runs of this project will find it."""
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    url = running_server(home)
    if url:
        print(f"already running: {url.removesuffix('/api')}")
        return
    home.mkdir(parents=True, exist_ok=True)
    server_file(home).write_text(f"http://127.0.0.1:{port}/api\n")
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(command[0], command)
