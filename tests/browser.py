"""A real browser for tests: Chromium, driven over the WebDriver protocol, which needs no package."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BINARY = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BINARY and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)
ENTER, DOWN = "\ue007", "\ue015"


class Browser:
    """One window."""

    def __init__(self, driver: str) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,860"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": BINARY, "args": arguments},
            "goog:loggingPrefs": {"performance": "ALL"},
        }
        self._base = f"{driver}/session"
        found = self._call("", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/{found['sessionId']}"

    def open(self, address: str) -> None:
        self._call("/url", {"url": address})

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def press(self, keys: str) -> None:
        """Type keys, one after the other, into whatever has the focus."""
        moves = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": moves}]})

    def click(self, x: float, y: float) -> None:
        """Click a place of the window, in pixels from its upper left corner."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        moves = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._call("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def wait(self, script: str, what: str = "") -> Any:
        """What a piece of JavaScript returns, once that is true."""
        return until(lambda: self.run(script), what or script)

    def text(self, css: str = "body") -> str:
        """The text that is to be seen in an element."""
        return str(self.run(f"return document.querySelector({json.dumps(css)}).innerText"))

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self._call("/screenshot"))

    def emulate(self, *, width: int, height: int, dark: bool = False) -> None:
        """Another screen."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def hide_scrollbars(self) -> None:
        """For pictures."""
        self._devtools("Emulation.setScrollbarsHidden", {"hidden": True})

    def requests(self) -> list[str]:
        """The addresses of all requests since the last call."""
        events = (json.loads(entry["message"])["message"] for entry in self._call("/se/log", {"type": "performance"}))
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._call("", method="DELETE")

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method or ("GET" if body is None else "POST")
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that closes at the end."""
    assert DRIVER is not None
    process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "started successfully on port" in line)
        window = Browser(f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}")
        try:
            yield window
        finally:
            window.close()
    finally:
        process.terminate()
        process.wait()


def until(check: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What a check returns, once that is true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.03)
    return found
