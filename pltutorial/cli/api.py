"""The service of ``serve --api``: the networks that ship, over HTTP.

A thread for each connection reads and answers; one worker computes. Nothing is written
to disk, and no request names a file.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from ..errors import InputError, nearest, shown
from . import Stopped, check_stopped
from .listen import HEADERS, Answers, Server, address, listen
from .offers import styles_offered
from .service import FORMATS, Made, Refused, Service, ServiceSettings
from .worker import Closed, Full

TYPES = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg"}
_MORE_CONNECTIONS = 64  # than there are places: for /health, and for what is refused
_LINGER = 5.0  # seconds in which a client still sends what nobody reads


class _Listening(Server):
    """A server with its service, and a limit of connections."""

    request_queue_size = 256

    def open(self, service: Service) -> None:
        """Answer for this service."""
        self.service = service
        self.room = threading.BoundedSemaphore(
            service.settings.queue + _MORE_CONNECTIONS
        )

    def process_request(self, request, client_address) -> None:
        if self.room.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):  # what fits into the socket's buffer
            request.setblocking(False)
            request.send(
                b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
            )
            request.send(b"Connection: close\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request, client_address) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()


class _Timed(io.RawIOBase):
    """What a connection sends, until a moment: it may trickle, but not for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.until = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client took too long")
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(Answers):
    """``GET /v1``, ``GET /health`` and ``POST /v1/NAME``."""

    server: _Listening
    more_headers = HEADERS | {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }

    def setup(self) -> None:
        """What a client sends is read until a moment, not for so long a time."""
        self.service = self.server.service
        self.timeout = self.service.settings.timeout
        super().setup()
        self._timed = _Timed(self.connection)
        self.rfile = io.BufferedReader(self._timed, 1 << 16)

    def handle_one_request(self) -> None:
        """One request, which may take so long to begin."""
        self._left, self._expects = 0, False
        self._timed.until = time.monotonic() + self.timeout
        super().handle_one_request()

    def parse_request(self) -> bool:
        """The headers, which with the body may take so long again."""
        self._timed.until = time.monotonic() + self.timeout
        return super().parse_request()

    def handle_expect_100(self) -> bool:
        """A client waits before it sends the body; it is told when it has a place."""
        self._expects = True
        return True

    # --- what is asked ----------------------------------------------------------------

    def do_GET(self) -> None:
        """What there is, and how it is."""
        self._answered(self._get)

    def do_POST(self) -> None:
        """A picture of a picture."""
        self._answered(self._post)

    def _other(self) -> None:
        self._answered(self._get)

    do_HEAD = do_GET
    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _other

    def _answered(self, work) -> None:
        """Do what was asked, or say why not, in JSON."""
        try:
            self._left = self._length()
            work()
        except Refused as problem:
            self._refuse(problem.status, str(problem), problem.headers)
        except InputError as problem:
            self._refuse(HTTPStatus.BAD_REQUEST, str(problem))
        except OSError:  # while it was answered
            self.service.count("gone")
            self.close_connection = True
        except Exception as problem:  # a fault of ours, and an answer all the same
            print(f"an answer failed: {problem!r}", file=sys.stderr)
            sentence = "no answer could be made; the terminal of the service says why"
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)

    def _get(self) -> None:
        path = self._path()
        offered = self.service.offered
        if path not in ("/v1", "/health") and path.removeprefix("/v1/") not in offered:
            raise _nothing(path, offered)
        allowed = "GET, HEAD" if path in ("/v1", "/health") else "POST"
        if self.command not in allowed.split(", "):
            raise Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{self.command} was asked of {path}; it takes {allowed}",
                Allow=allowed,
            )
        if path == "/v1":
            self._say(HTTPStatus.OK, described(self.service))
            return
        health = self.service.health()
        ready = HTTPStatus.OK if health["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
        self._say(ready, health)

    def _post(self) -> None:
        offer = self.service.offered.get(self._path().removeprefix("/v1/"))
        if offer is None or not self._path().startswith("/v1/"):
            self._get()
            return
        self._check_origin()
        query = _query(self.path.partition("?")[2])
        ending = self._ending(query.pop("format", None))
        asked = offer.asked(query)
        if self._left is None:
            raise Refused(
                HTTPStatus.LENGTH_REQUIRED,
                "the request has no Content-Length, or is sent in chunks; send the "
                "picture's bytes as the body, with their number",
            )
        limit = self.service.settings.max_bytes
        if self._left > limit:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the file has {self._left:,} bytes and the limit is {limit:,}; send a "
                "smaller one",
            )
        if not self._left:
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "the body is empty; send the picture's bytes as the body",
            )
        kind = self.headers.get("Content-Type", "")
        if kind.lower().startswith("multipart/"):
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "a form was sent; send the picture itself as the body, as curl "
                "--data-binary @photo.jpg does",
            )
        try:
            with self.service.worker.place():
                self._send(self.service.make(asked, self._body(), ending), ending)
        except Full as problem:
            places = self.service.worker.places
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the queue is full ({places} pictures); try again in "
                f"{problem.seconds} s",
                **{"Retry-After": str(problem.seconds)},
            ) from None
        except Closed:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the service is stopping and takes no more; try again later",
                **{"Retry-After": "30"},
            ) from None

    # --- how it is read ---------------------------------------------------------------

    def _path(self) -> str:
        path = unquote(self.path.partition("?")[0])
        return path.rstrip("/") or "/"

    def _length(self) -> int | None:
        """Bytes of the body; None where that cannot be known, for one in chunks too."""
        given = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            return None
        if not given:
            return None if self.command == "POST" else 0
        lengths = {one.strip() for text in given for one in text.split(",")}
        if len(lengths) != 1 or not re.fullmatch("[0-9]{1,18}", min(lengths)):
            self._left = None
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                f"the Content-Length {shown(', '.join(given))} is no number of bytes; "
                "give one",
            )
        return int(min(lengths))

    def _check_origin(self) -> None:
        """Refuse what a page of another address sends in the name of its reader."""
        origin = self.headers.get("Origin")
        if origin and origin.partition("://")[2] != self.headers.get("Host"):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"a page of {shown(origin)} asked for this; only pages of this address "
                "may",
            )

    def _ending(self, format: str | None) -> str:
        """Of the picture's format: the query's, or the one that the client likes
        best.
        """
        if format is not None:
            if format.lower() not in FORMATS:
                raise InputError(
                    f"format={shown(format)} is unknown; {nearest(format, FORMATS)}"
                )
            return FORMATS[format.lower()]
        ending = _accepted(",".join(self.headers.get_all("Accept", [])))
        if ending is None:
            raise Refused(
                HTTPStatus.NOT_ACCEPTABLE,
                "the Accept header takes no picture that is made here; "
                f"accept one of {', '.join(TYPES.values())}",
            )
        return ending

    def _body(self) -> bytes:
        if self._expects:
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        data, length = bytearray(), self._left
        try:
            while self._left:
                part = self.rfile.read1(min(self._left, 1 << 20))
                if not part:
                    raise Refused(
                        HTTPStatus.BAD_REQUEST,
                        f"{len(data):,} of {length:,} bytes came; send all of them",
                    )
                data += part
                self._left -= len(part)
        except TimeoutError:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"{len(data):,} of {length:,} bytes came in {self.timeout:g} s; send "
                "them sooner, or a smaller picture",
            ) from None
        return bytes(data)

    # --- how it is answered -----------------------------------------------------------

    def _send(self, made: Made, ending: str) -> None:
        timing = f"wait;dur={1000 * made.waited:.0f}, work;dur={1000 * made.worked:.0f}"
        headers = {
            "Content-Type": TYPES[ending],
            "Vary": "Accept",
            "X-Network": made.network,
            "X-Batch": str(made.batch),
            "Server-Timing": timing,
        }
        self._write(HTTPStatus.OK, made.encoded(), headers)
        self.service.count("served")

    def _say(self, status: HTTPStatus, what: dict, headers: Mapping = {}) -> None:  # noqa: B006
        data = json.dumps(what, indent=1).encode() + b"\n"
        kind = {"Content-Type": "application/json"}
        self._write(status, data, {**kind, **headers})

    def _refuse(self, status: int, sentence: str, headers: Mapping = {}) -> None:  # noqa: B006
        """One sentence, and the end of a connection whose body nobody reads."""
        self.service.count("refused")
        try:
            self._say(status, {"error": sentence, "status": int(status)}, headers)
        except OSError:
            self.service.count("gone")
            self.close_connection = True

    def _write(self, status: int, data: bytes, headers: Mapping) -> None:
        unread = self._left is None or self._left > 0
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        if unread or self.close_connection:
            self.send_header("Connection", "close")  # and it is closed
        self.connection.settimeout(self.timeout)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if unread:
            self._linger()

    def _linger(self) -> None:
        """Read a little of what nobody wants: a connection that is closed with bytes
        unread is reset, and the client may never see the answer.
        """
        left = self.service.settings.max_bytes
        with contextlib.suppress(OSError, ValueError):
            self.connection.shutdown(socket.SHUT_WR)
            self._timed.until = time.monotonic() + min(_LINGER, self.timeout)
            while left > 0 and (part := self.rfile.read1(1 << 16)):
                left -= len(part)

    def send_error(self, code, message=None, explain=None) -> None:
        """What Python's own server refuses, as a sentence in JSON too."""
        self._left, self.close_connection = None, True
        text = message or HTTPStatus(code).phrase
        sentence = (
            f"this is no request that is known ({shown(text)}); GET /v1 says more"
        )
        self._refuse(HTTPStatus(code), sentence)


def described(service: Service) -> dict:
    """What ``GET /v1`` says."""
    settings = service.settings
    return {
        "networks": {name: one.described() for name, one in service.offered.items()},
        "styles": styles_offered(),
        "formats": list(FORMATS),
        "limits": {
            "batch": settings.batch,
            "queue": settings.queue,
            "bytes": settings.max_bytes,
            "pixels": settings.max_pixels,
            "seconds": settings.timeout,
        },
        **service.facts,
    }


def _nothing(path: str, offered: Mapping) -> Refused:
    if path.startswith("/v1/"):
        near = nearest(path.removeprefix("/v1/")[:80], offered)
        sentence = f"there is no network {shown(path.removeprefix('/v1/'))}; {near}"
    else:
        sentence = f"there is nothing at {shown(path)}; GET /v1 lists what there is"
    return Refused(HTTPStatus.NOT_FOUND, sentence)


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise InputError(
            "the query has too many parts; give each option once"
        ) from None
    query = dict(pairs)
    if len(query) < len(pairs):
        raise InputError("the query names an option twice; give each option once")
    return query


def _accepted(header: str) -> str | None:
    """The ending of the picture that an Accept header likes best, the first of equals;
    None if it takes none.
    """
    if not header.strip():
        return ".png"
    known = {kind: ending for ending, kind in TYPES.items()}
    known |= {"*/*": ".png", "image/*": ".png"}
    best, found = 0.0, None
    for one in header.lower().split(","):
        kind, *more = (part.strip() for part in one.split(";"))
        quality = 1.0
        for part in more:
            if said := re.fullmatch(r"q\s*=\s*([01](?:\.[0-9]{0,3})?)", part):
                quality = float(said[1])
        if kind in known and quality > best:
            best, found = quality, known[kind]
    return found


def start(service: Service, port: int = 8000, host: str = "127.0.0.1") -> _Listening:
    """A server that listens for a service; ``serve_forever`` answers.

    Raises:
        InputError: an address that is taken, not allowed or not this machine's.
    """
    server = listen(Handler, port, host, _Listening)
    server.open(service)
    return server


def run(settings: ServiceSettings, port: int, host: str) -> None:
    """Serve until a signal comes; what was taken is finished then.

    Raises:
        InputError: an address, a device or a precision that cannot be used.
        Stopped: the signal came, and everything that was taken is answered.
    """
    with listen(Handler, port, host, _Listening) as server:
        service = Service(settings)
        server.open(service)
        answering = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        try:
            check_stopped()
            service.worker.start()
            answering.start()
            print(f"{address(server, host, '/v1')}  (Ctrl-C ends it)", flush=True)
            while service.worker.alive:
                answering.join(0.5)
        except KeyboardInterrupt:
            pass
        before = service.counted["served"]
        service.worker.close()
        if answering.is_alive():
            server.shutdown()
    served = service.counted["served"]
    raise Stopped(
        f"stopped; {served:,} pictures were answered, {served - before:,} of them "
        "after the signal"
    )
