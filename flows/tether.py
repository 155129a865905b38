"""Run a Python module that ends together with its parent process, even if the parent is killed.

python tether.py MODULE [ARGUMENT ...]

Standard input must be a pipe that the parent keeps open and never writes to: the kernel closes it when the parent ends. Run this
file by its path, so that nothing but the module is imported.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0


def main() -> None:
    """Run the module in this process while another thread watches standard input."""
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
