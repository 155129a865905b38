"""A model hub on this machine that speaks as much of Hugging Face's protocol as `hf download` and the loaders need."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

COMMIT = hashlib.sha1(b"").hexdigest()


class Hub:
    """Every repository that is asked for holds the same files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body: bytes | None
                if "/tree/" in self.path:
                    rows = [{"type": "file", "path": name, "oid": COMMIT, "size": len(data)} for name, data in files.items()]
                    body = json.dumps(rows).encode()
                elif self.path.startswith("/api/models/"):
                    name = self.path.removeprefix("/api/models/").partition("/revision/")[0]
                    siblings = [{"rfilename": file} for file in files]
                    body = json.dumps({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}).encode()
                else:
                    body = files.get(self.path.partition(f"/resolve/{COMMIT}/")[2])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body or b"")

            do_HEAD = do_GET  # noqa: N815 (the library's name)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
