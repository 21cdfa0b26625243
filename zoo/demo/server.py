"""Local web server of the demo page, which serves the files of the site and nothing else. Standard library only."""

import contextlib
import errno
import shutil
import socket
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from zoo.console.errors import UsageError

ADDRESS = "127.0.0.1"
INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
# index.html has the same policy for the exported site, but a browser ignores frame-ancestors there.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Cross-origin isolation gives the page a timer resolution of 5 microseconds instead of 100.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
# Seconds that a client has for its request, and for taking the answer.
SECONDS = 30.0
_UPLOAD = "This server takes no uploads: the page opens files in the browser itself"
# Bytes of a refused upload that are read, so that the client sees the answer before the connection is closed.
_DRAINED = 1 << 20
# Content of a site, or the file that holds it, by path from the root.
Site = Mapping[str, bytes | Path]


def bound(site: Site, port: int) -> ThreadingHTTPServer:
    """Return a server that listens on a port, or on a free one if the port is taken.

    Args:
        site: Site to serve.
        port: Port to listen on.

    Raises:
        UsageError: If this user may not listen on the port.
    """
    handler = type("Handler", (_Handler,), {"site": site})
    try:
        return _Server((ADDRESS, port), handler)
    except PermissionError:
        raise UsageError(f"--port {port}: expected a port this user may listen on, such as 8000") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _Server((ADDRESS, 0), handler)


def write(site: Site, folder: Path) -> None:
    """Write a site into a new or empty folder.

    Args:
        site: Site to write.
        folder: Folder to write to.

    Raises:
        UsageError: If the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise UsageError(f"--export {folder}: expected a new or empty folder, this one {what}")
    for name, content in site.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show an error of ours; one of a client that has left is none."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    site: Site
    timeout = SECONDS  # of each read and write; `setup` limits the whole request

    def setup(self) -> None:
        super().setup()
        self._late = threading.Timer(SECONDS, self._cut_off)
        self._late.daemon = True
        self._late.start()

    def finish(self) -> None:
        self._late.cancel()
        with contextlib.suppress(OSError):  # the client has left
            super().finish()

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:  # noqa: N802  (names of the base class)
        self._answer(with_content=True)

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer(with_content=False)

    def do_POST(self) -> None:  # noqa: N802
        self._answer(with_content=False)

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

    def _answer(self, *, with_content: bool) -> None:
        self._late.cancel()
        port = self.server.server_address[1]
        # Protects against DNS rebinding: a foreign host name that resolves to this machine is refused.
        if self.headers.get("Host") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return self.send_error(HTTPStatus.FORBIDDEN)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, explain=_UPLOAD)
            return self._drain()
        if self.command not in ("GET", "HEAD"):
            return self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
        name = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        content = self.site.get(name)
        try:
            body = content.read_bytes() if isinstance(content, Path) else content
        except OSError:  # the file was deleted since the server was started
            body = None
        if body is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_content:
            self.wfile.write(body)
        return None

    def end_headers(self) -> None:
        """End the headers of any answer, errors included, with those that all have."""
        for key, value in _HEADERS.items():
            self.send_header(key, value)
        super().end_headers()

    def _drain(self) -> None:
        left = _DRAINED
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1.0)
        while left > 0 and (part := self.rfile.read1(left)):
            left -= len(part)

    def log_message(self, *_: Any) -> None:
        """Suppress the log line of each request."""
