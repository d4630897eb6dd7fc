"""The command ``serve``: the built site, with the headers that let a page compute
on several threads.
"""

from __future__ import annotations

import errno
import functools
import gzip
import io
import socket
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

SITE = Path("build") / "site" / "_build" / "html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".ipynb": "application/json",
    ".map": "application/json",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
"""By ending, whatever the machine's own tables say: a browser runs no module and no
WebAssembly of another type.
"""
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # asked again each time, so that a site that was built anew is shown
    "Cache-Control": "no-cache",
}
_PACKED = (
    ".css",
    ".html",
    ".ipynb",
    ".js",
    ".json",
    ".map",
    ".mjs",
    ".svg",
    ".txt",
    ".wasm",
    ".xml",
)


def handler(folder: Path | str) -> type[SimpleHTTPRequestHandler]:
    """A request handler for :mod:`http.server` that serves the files of a
    folder and nothing else.

    Args:
        folder: its ``index.html`` is the first page; its ``404.html``, if there is one,
            answers what does not exist.
    """

    class Handler(_Handler):
        root = Path(folder).resolve()

        def __init__(self, *given) -> None:
            super().__init__(*given, directory=str(self.root))

    return Handler


class _Handler(SimpleHTTPRequestHandler):
    root: Path
    # a page of many small files asks for them through one connection
    protocol_version = "HTTP/1.1"
    timeout = 60
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *given) -> None:
        """Requests are not printed."""

    def list_directory(self, path):
        """A folder without an index is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_head(self):
        path, slash = (
            Path(self.translate_path(self.path)),
            self.path.partition("?")[0].endswith("/"),
        )
        # a link may lead out of the folder, and a name may hold what no
        # file can be called
        try:
            if path.is_dir() and slash:
                path = path / "index.html"
            elif slash:
                path = path / "none"  # a file is no folder
            inside = path.resolve().is_relative_to(self.root)
        except (OSError, ValueError):
            inside = False
        if not inside:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        asked = self.headers.get("Accept-Encoding", "")
        if "gzip" in asked and path.suffix in _PACKED and path.is_file():
            return self._packed(path)
        return super().send_head()

    def _packed(self, path: Path):
        """A file that becomes much smaller, as public servers send it too."""
        changed = path.stat().st_mtime_ns
        stamp = self.date_time_string(changed / 1e9)
        if self.headers.get("If-Modified-Since") == stamp:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            return None
        data = _gzip(path, changed)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", stamp)
        self.send_header("Vary", "Accept-Encoding")
        self.end_headers()
        return io.BytesIO(data)

    def send_error(self, code, message=None, explain=None) -> None:
        page = self.root / "404.html"
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        data = page.read_bytes()
        self.send_response(HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", TYPES[".html"])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@functools.lru_cache(maxsize=512)
def _gzip(path: Path, changed: int) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a class opens the page at once

    def handle_error(self, request, client_address) -> None:
        """A browser that goes away in the middle is no error."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def start(
    folder: Path | str | None = None, port: int = 8000, host: str = "127.0.0.1"
) -> ThreadingHTTPServer:
    """A server that listens; ``serve_forever`` answers until it is interrupted.

    Args:
        folder: the site that was built if left out.
        port: 0 takes any that is free.
        host: the address to listen at: ``"127.0.0.1"`` answers this machine alone,
            ``"0.0.0.0"`` the network.

    Raises:
        InputError: no such folder, no site, or an address that is taken, not allowed or
            not this machine's.
    """
    folder = _site() if folder is None else Path(folder)
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "does not exist"
        raise InputError(
            f"the folder {str(folder)!r} {fault}; give a folder with an index.html"
        )
    if not 0 <= port <= 65535:
        raise InputError(
            f"port {port} was given; give a number from 1024 to 65535, such as 8000"
        )
    try:
        return _Server((host, port), handler(folder))
    except socket.gaierror:
        raise InputError(
            f"the host {host!r} is unknown; give 127.0.0.1 for this machine alone, or "
            "0.0.0.0 for its network"
        ) from None
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is in use; give another, such as --port {_next(port)}"
            ) from None
        if problem.errno == errno.EACCES:
            raise InputError(
                f"port {port} is for administrators; give one from "
                "1024 on, such as 8000"
            ) from None
        raise InputError(
            f"nothing can listen at {host}:{port} ({problem.strerror}); give --host "
            "127.0.0.1 for this machine alone"
        ) from None


def _next(port: int) -> int:
    return port + 1 if port < 65535 else 8000


def _site() -> Path:
    """The built site: below the working folder, or below the repository
    whose package this is.
    """
    for base in (Path(), Path(__file__).resolve().parents[2]):
        if (base / SITE / "index.html").is_file():
            return base / SITE
    raise InputError(
        f"there is no built site in {str(SITE)!r}; build it with `make "
        "site`, or give a folder"
    )


def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="What to serve; the built site if left out.", metavar="[FOLDER]"
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Where it listens; 0 takes any that is free.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(
            help=(
                "127.0.0.1 answers this machine alone, 0.0.0.0 everyone in its network."
            )
        ),
    ] = "127.0.0.1",
) -> None:
    """Serve the built site, with the headers that let its live page compute on several
    threads; Ctrl-C ends it.
    """
    with start(folder, port, host) as server:
        shown = "127.0.0.1" if host in ("", "0.0.0.0") else host
        print(f"http://{shown}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
