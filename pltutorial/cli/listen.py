"""What both servers of ``serve`` share: headers, what is said of an address that cannot
be used, and that a client who goes away is no error.
"""

from __future__ import annotations

import errno
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from ..errors import InputError

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # a page takes nothing from elsewhere; those of the book have scripts in them, and
    # the live page compiles WebAssembly
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:"
        "; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src "
        "'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action "
        "'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    # asked again each time, so that a site that was built anew is shown
    "Cache-Control": "no-cache",
}


class Answers(BaseHTTPRequestHandler):
    """A request handler that says little of itself, and nothing on the terminal."""

    # a page of many small files asks for them through one connection
    protocol_version = "HTTP/1.1"
    timeout = 60
    more_headers = HEADERS

    def version_string(self) -> str:
        """What serves; of which version is nobody's business."""
        return "pltutorial"

    def end_headers(self) -> None:
        """All answers have these."""
        for name, value in self.more_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *given) -> None:
        """Requests are not printed."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64  # a class opens the page at once

    def handle_error(self, request, client_address) -> None:
        """A browser that goes away in the middle is no error; of another, one line is
        said and the server goes on.
        """
        problem = sys.exc_info()[1]
        if not isinstance(problem, (ConnectionError, TimeoutError)):
            print(f"an answer failed: {problem!r}", file=sys.stderr)


AServer = TypeVar("AServer", bound=Server)


def listen(
    handler: type[BaseHTTPRequestHandler],
    port: int,
    host: str,
    kind: type[AServer] = Server,
) -> AServer:
    """A server that listens; ``serve_forever`` answers until it is interrupted.

    Raises:
        InputError: an address that is taken, not allowed or not this machine's.
    """
    if not 0 <= port <= 65535:
        raise InputError(
            f"port {port} was given; give a number from 1024 to 65535, such as 8000"
        )
    try:
        return kind((host, port), handler)
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


def address(server: Server, host: str, path: str = "/") -> str:
    """Where it is reached from this machine."""
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else host
    return f"http://{shown}:{server.server_port}{path}"


def _next(port: int) -> int:
    return port + 1 if port < 65535 else 8000
