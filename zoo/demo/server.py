"""Local web server of the demo page, which serves the files of the site and nothing else. Standard library only."""

import contextlib
import errno
import shutil
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
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # Cross-origin isolation gives the page a timer resolution of 5 microseconds instead of 100.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
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
        return ThreadingHTTPServer((ADDRESS, port), handler)
    except PermissionError:
        raise UsageError(f"--port {port}: expected a port this user may listen on, such as 8000") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return ThreadingHTTPServer((ADDRESS, 0), handler)


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


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:  # noqa: N802  (names of the base class)
        self._answer(with_content=True)

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        port = self.server.server_address[1]
        # Protects against DNS rebinding: a foreign host name that resolves to this machine is refused.
        if self.headers.get("Host") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return self.send_error(HTTPStatus.FORBIDDEN)
        name = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        content = self.site.get(name)
        if content is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        body = content.read_bytes() if isinstance(content, Path) else content
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        for key, value in _HEADERS.items():
            self.send_header(key, value)
        self.end_headers()
        if with_content:
            with contextlib.suppress(ConnectionError):  # the browser has closed the connection
                self.wfile.write(body)
        return None

    def log_message(self, *_: Any) -> None:
        """Suppress the log line of each request."""
