"""The command ``serve``: the built site, with the headers that let a page compute
on several threads.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ..errors import InputError
from ..files import exists, is_folder, no_file
from . import Stopped, api
from .listen import Answers, address, listen
from .options import with_options

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


class _Handler(Answers, SimpleHTTPRequestHandler):
    root: Path
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}

    def list_directory(self, path):
        """A folder without an index is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_head(self):
        try:
            path = self._asked_for()
            if path is not None and path.is_dir():
                return super().send_head()  # to the same address with a slash
            if path is not None and not no_file(path):
                return self._file(path)
        # a loop of links, a name that no file can be called, one that may not be read
        except (OSError, RuntimeError, ValueError):
            pass
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def _asked_for(self) -> Path | None:
        """The path in the folder; None for one that leads out of it, by a link too,
        and for hidden files.
        """
        path = Path(self.translate_path(self.path))
        if self.path.partition("?")[0].endswith("/"):
            # a file is no folder
            path = path / ("index.html" if path.is_dir() else "none")
        for seen in (path, path.resolve()):
            if not seen.is_relative_to(self.root):
                return None
            if any(part[0] == "." for part in seen.relative_to(self.root).parts):
                return None
        return path

    def _file(self, path: Path) -> BinaryIO | None:
        """The headers of a file, and what is to be sent of it."""
        file = path.open("rb")
        changed, size = os.fstat(file.fileno()).st_mtime_ns, path.stat().st_size
        stamp = self.date_time_string(changed / 1e9)
        packs = path.suffix in _PACKED
        headers = {"Last-Modified": stamp, "Content-Type": self.guess_type(str(path))}
        if packs:
            headers["Vary"] = "Accept-Encoding"
        part = None
        # a part of a file is one of the file as it was when its beginning was sent
        if self.command == "GET" and self.headers.get("If-Range", stamp) == stamp:
            part = _part(self.headers.get("Range", ""), size)
        status = HTTPStatus.OK
        if self._is_known(changed):
            status, size = HTTPStatus.NOT_MODIFIED, None
        elif part == ():
            status, headers["Content-Range"] = (
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"bytes */{size}",
            )
            size = 0
        elif part is not None:
            first, last = part
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            status, size = HTTPStatus.PARTIAL_CONTENT, last - first + 1
            file.seek(first)
        elif packs and _takes_gzip(self.headers.get_all("Accept-Encoding", [])):
            with file:
                data = _gzip(path, changed)
            headers["Content-Encoding"] = "gzip"
            file, size = io.BytesIO(data), len(data)
        else:
            headers["Accept-Ranges"] = "bytes"
        if size is not None:
            headers["Content-Length"] = str(size)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return _Part(file, size)
        file.close()
        return None

    def _is_known(self, changed: int) -> bool:
        """Whether the browser has the file as it was changed last, in nanoseconds."""
        try:
            known = parsedate_to_datetime(self.headers.get("If-Modified-Since", ""))
            return changed // 10**9 <= known.timestamp()
        except (ValueError, OverflowError, OSError):  # no date, or none that there is
            return False

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


class _Part:
    """So many bytes of an open file, for those who read to its end."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self.file, self.left = file, left

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(data)
        return data

    def close(self) -> None:
        self.file.close()


def _part(range: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """First and last byte that are asked for of a file; None for all of it, also where
    the range is none that we know, and () where the file has no such bytes.
    """
    asked = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", range.strip(), re.IGNORECASE)
    if asked is None or asked[0].endswith("=-"):
        return None
    # digits that no file reaches are cut: Python reads 4,300 at most
    first, last = (int(number[:19]) if number else None for number in asked.groups())
    if first is None:
        first, last = max(0, size - last), size - 1
    elif last is not None and last < first:
        return None
    last = size - 1 if last is None else min(last, size - 1)
    return (first, last) if first <= last else ()


def _takes_gzip(accepted: list[str]) -> bool:
    """Whether gzip is among the encodings of a request; one of quality 0 is not."""
    takes = {}
    for one in ",".join(accepted).lower().split(","):
        name, _, quality = (part.strip() for part in one.partition(";"))
        found = re.fullmatch(r"q\s*=\s*([01](?:\.[0-9]{0,3})?)", quality)
        takes[name] = not quality or (found is not None and float(found[1]) > 0)
    return takes.get("gzip", takes.get("*", False))


@functools.lru_cache(maxsize=512)
def _gzip(path: Path, changed: int) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


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
    if not is_folder(folder):
        fault = "is a file" if exists(folder) else "does not exist"
        raise InputError(
            f"the folder {str(folder)!r} {fault}; give a folder with an index.html"
        )
    return listen(handler(folder), port, host)


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


@with_options
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
    service: Annotated[
        bool,
        typer.Option(
            "--api",
            help="Serve the networks that ship in place of the site: POST a picture "
            "to /v1/NAME; GET /v1 lists them, /health says how it is.",
        ),
    ] = False,
    *,
    settings: api.ServiceSettings,
) -> None:
    """Serve the built site, with the headers that let its live page compute on several
    threads, or (--api) the networks that ship; Ctrl-C ends it.
    """
    if service:
        if folder is not None:
            raise InputError(
                f"the folder {str(folder)!r} and --api were both given; give one of "
                "them, a site and a service have a port each"
            )
        api.run(settings, port, host)
        return
    if settings != api.ServiceSettings():
        raise InputError(
            "--batch, --queue, --max-megabytes, --max-pixels, --timeout, --device and "
            "--precision are for the service; give --api with them"
        )
    with start(folder, port, host) as server:
        print(f"{address(server, host)}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise Stopped("stopped; nothing is served any more") from None
