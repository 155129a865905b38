"""A `python` for DVC, stages and the demo that starts at once: a fork of a process that has imported the libraries.

The libraries alone: what runs is the code of the folder one stands in, as with `python -m`. Everything else that is asked of this
`python` is done by the real one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = ("nola_core.stages", "dvc", "demo.run")
"""What is run so."""
LIBRARIES = (
    "torch",
    "torchvision",
    "open_clip",
    "timm",
    "faiss",
    "pandas",
    "PIL.JpegImagePlugin",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "pydantic",
    "rapidfuzz.process",
    "safetensors.numpy",
    "scipy.optimize",
    "sklearn.linear_model",
    "sklearn.manifold",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_svg",
    "jinja2",
    "openai",
    "tenacity",
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.rwlock",
    "dvc.stage.cache",
    "dvc.utils.serialize",
    "dulwich.repo",
    "ruamel.yaml",
    "scmrepo.git",
)
CLIENT = """#!{python} -IS
import json, os, socket, sys

if len(sys.argv) < 3 or sys.argv[1] != "-m" or sys.argv[2] not in {modules}:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect("{address}")
    request = json.dumps([[sys.argv[0], *sys.argv[2:]], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8)], [0, 1, 2])
    server.sendall(request)
    status = int(server.recv(8) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextmanager
def python(folder: Path) -> Iterator[Path]:
    """A new `bin/python` in a folder; it works until the end of the context."""
    address, client = folder / "socket", folder / "bin" / "python"
    command = [sys.executable, "-m", __name__, str(address)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None and server.stdout.readline() == b"ready\n"
        client.parent.mkdir()
        client.write_text(CLIENT.format(python=sys.executable, modules=MODULES, address=address))
        client.chmod(0o755)
        yield client
        server.stdin.close()


def serve(address: str) -> list[str]:
    """Fork a child for every request, until stdin ends; returns in the child, with its words."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the attendants
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while select.select([listening, sys.stdin], [], [])[0] == [listening]:
            asked, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                return attend(asked)
            asked.close()
    os._exit(0)


def attend(asked: socket.socket) -> list[str]:
    """Have a child do what is asked, and answer with its status; it ends when whoever asked does. Returns in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, *_ = socket.recv_fds(asked, 8, 3)
    words, folder, environment = json.loads(b"".join(received(asked, int.from_bytes(length))))
    alive, end = os.pipe()
    child = os.fork()
    if child == 0:
        asked.close()
        os.close(alive)
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        return list(words)
    for number in (*files, end, 0, 1, 2):
        os.close(number)
    if alive not in select.select([asked, alive], [], [])[0]:
        os.killpg(child, signal.SIGKILL)
    asked.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    os._exit(0)


def received(asked: socket.socket, count: int) -> Iterator[bytes]:
    while count > 0:
        part = asked.recv(count)
        count -= len(part)
        yield part


def run(module: str) -> int:
    """Run a module as `python -m` does; the exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    gc.freeze()  # children need not copy these objects to look at them
    sys.executable, module, *sys.argv[1:] = serve(sys.argv[1])  # so that what it starts is quick, too
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.path[0] = str(Path.cwd())
    status = run(module)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)  # it takes an interpreter three seconds to take all these libraries apart
