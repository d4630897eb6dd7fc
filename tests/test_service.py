"""The service of networks: each status, answers equal to the functions', none lost, and
an end that finishes what is queued.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import assert_refused, assert_sentence, picture
from PIL import Image

from pltutorial import register, stylize, tasks, zoo
from pltutorial.cli import api, offers
from pltutorial.cli.service import Service, ServiceSettings
from pltutorial.images import open_picture, to_image, to_picture
from pltutorial.restoration import denoise, inpaint, upscale
from pltutorial.tasks.colorize import colorize
from pltutorial.tasks.deblur import deblur

ATOL = 1.01 / 255  # two roundings to 8 bits
LIMITS = {"max_megabytes": 0.05, "max_pixels": 60_000, "timeout": 10.0}
FLOAT = {"precision": "float32", "device": "cpu"}


class Stub:
    """A network that waits until it is told to go on, and keeps what it was given."""

    def __init__(self) -> None:
        self.gate, self.seen = threading.Event(), []

    def run(self, network, image, **options):
        self.seen.append(len(image))
        assert self.gate.wait(60)
        return image


def offered(stub: Stub | None = None) -> dict[str, offers.Offer]:
    """What there is, and three more: one that waits, one that fails, and one that
    takes a single picture.
    """

    def broken(network, image, **options):
        raise RuntimeError("a fault of ours")

    def single(network, image, **options):
        if len(image) > 1:
            raise RuntimeError("one at a time")
        return 1 - image

    runs = {"slow": (stub or Stub()).run, "broken": broken, "single": single}
    more = {
        name: offers.Offer(
            name,
            "A test.",
            (),
            load=lambda **given: object(),
            run=run,
            size=lambda network, image, **options: tuple(image.shape[:1:-1]),
        )
        for name, run in runs.items()
    }
    return offers.offers() | more


@contextlib.contextmanager
def served(stub: Stub | None = None, **limits):
    """A service of this process and its port."""
    service = Service(ServiceSettings(**LIMITS | FLOAT | limits), offered(stub))
    with api.start(service, 0) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        service.worker.start()
        yield service, server.server_port
        if stub is not None:
            stub.gate.set()
        service.worker.close()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def float32_everywhere(monkeypatch):
    """The functions that answers are compared with compute as the service does, on
    processors that gain by bfloat16 too.
    """
    monkeypatch.setenv("PLTUTORIAL_PRECISION", "float32")


@pytest.fixture(scope="module")
def port(random_zoo):
    """Of a service of tiny random networks."""
    patch = pytest.MonkeyPatch()
    for name, folder in random_zoo.items():
        patch.setattr(zoo, name, folder)
    with served(queue=64) as (_, found):
        yield found
    patch.undo()


def encoded(image: torch.Tensor | Image.Image, kind: str = "PNG") -> bytes:
    """The bytes of a picture's file."""
    image = to_picture(image) if isinstance(image, torch.Tensor) else image
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


def decoded(data: bytes) -> torch.Tensor:
    return to_image(open_picture(io.BytesIO(data), "the answer"), "the answer")


PHOTO = encoded(picture(24, 32))


def ask(port: int, path: str, body: bytes | None = PHOTO, method="POST", **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def raw(port: int, data: bytes, then: bytes | None = None) -> bytes:
    """What is answered to these bytes, the sending side closed after them; ``then`` is
    sent when the first answer has come.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=20) as talk:
        talk.sendall(data)
        first = b""
        if then is not None:
            first = talk.recv(1 << 16)
            talk.sendall(then)
        talk.shutdown(socket.SHUT_WR)
        return first + b"".join(iter(lambda: talk.recv(1 << 16), b""))


def wait_for(what) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("upscale", upscale),
        ("upscale?factor=8&loss=pixel", lambda x: upscale(x, 8, "pixel")),
        ("upscale?match-histogram=1", lambda x: upscale(x, match_histogram=True)),
        ("denoise", denoise),
        ("denoise?loss=0.25", lambda x: denoise(x, 0.25)),
        ("deblur", deblur),
        ("colorize", colorize),
        (
            "invert?layer=relu3_3&rounds=2&size=16",
            lambda x: tasks.invert.reencode(
                tasks.invert.resize(x, 16), 2, layer="relu3_3", precision="float32"
            )[-1],
        ),
        (
            "stylize?style=great_wave&strength=0.5&preserve_color=luminance&stroke=1.5",
            lambda x: stylize(
                x, "great_wave", strength=0.5, preserve_color="luminance", stroke=1.5
            ),
        ),
        (
            "stylize?style=cafe_terrace&size=24",
            lambda x: stylize(x, "cafe_terrace", size=24, precision="float32"),
        ),
    ],
)
def test_the_answer_is_what_the_function_makes(path, function, port):
    status, headers, body = ask(port, f"/v1/{path}")
    assert (status, headers["Content-Type"]) == (200, "image/png"), body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    torch.testing.assert_close(
        decoded(body), function(decoded(PHOTO)).cpu(), atol=ATOL, rtol=0
    )


def test_the_network_is_named(port):
    for path, name in (
        ("stylize?style=poppies", "eight_styles"),
        ("stylize?style=cafe_terrace", "eight_styles"),
        ("upscale?factor=8", "upscale_x8_feature"),
        ("denoise?loss=0.25", "denoise, loss 0.25"),
    ):
        assert ask(port, f"/v1/{path}")[1]["X-Network"] == name


def test_transparent_pixels_are_filled(port):
    image, hole = picture(24, 32), Image.new("L", (32, 24), 255)
    hole.paste(0, (8, 8, 16, 16))
    sent = to_picture(image)
    sent.putalpha(hole)
    status, _, body = ask(port, "/v1/inpaint", encoded(sent))
    mask = torch.zeros(1, 1, 24, 32)
    mask[..., 8:16, 8:16] = 1
    assert status == 200
    whole = inpaint(decoded(encoded(sent)), mask)
    torch.testing.assert_close(decoded(body), whole, atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", None, "png"),
        ("", "*/*", "png"),
        ("", "text/html, image/webp, */*;q=0.5", "webp"),
        ("", "image/png;q=0.2, image/jpeg;q=0.9", "jpeg"),
        ("?format=jpg", "image/png", "jpeg"),
        ("?format=WebP", None, "webp"),
    ],
)
def test_formats(query, accept, kind, port):
    headers = {} if accept is None else {"Accept": accept}
    status, answered, body = ask(port, f"/v1/denoise{query}", **headers)
    assert (status, answered["Content-Type"]) == (200, f"image/{kind}")
    assert Image.open(io.BytesIO(body)).format == kind.upper()


def test_what_there_is(port):
    status, headers, body = ask(port, "/v1", None, "GET")
    found = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    ours = {"stylize", "upscale", "denoise", "deblur", "inpaint", "colorize"}
    assert ours <= set(found["networks"])
    assert found["networks"]["upscale"]["path"] == "/v1/upscale"
    assert "mask" not in found["networks"]["inpaint"]["options"]  # no file of ours
    assert found["styles"] == list(zoo.styles())
    assert found["limits"]["bytes"] == 50_000
    assert ask(port, "/v1", None, "HEAD")[2] == b""
    health = json.loads(ask(port, "/health", None, "GET")[2])
    assert health["ready"] is True
    assert {"queue", "waiting", "served", "refused", "gone", "uptime"} <= set(health)


def test_a_new_task_is_offered_by_itself(monkeypatch):
    tasks_known = register.all()
    fresh = replace(tasks_known["denoise"], name="fresh")
    fresh = replace(fresh, command=replace(fresh.command, name="fresh"))
    monkeypatch.setitem(register.REGISTER, "fresh", fresh)
    assert "fresh" in offers.offers.__wrapped__()
    takes = {s.command.name for s in tasks_known.values() if s.command}
    assert set(offers.offers()) == takes - {"sample"} | {"stylize"}


# --- refusals -----------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 900 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(90_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def moving() -> bytes:
    frames = [to_picture(picture(24, 32, seed)) for seed in range(2)]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/denoisse", PHOTO, 404, "'denoise'"),
        ("/v1/sample", PHOTO, 404, "no network 'sample'"),
        ("/v1/denoise/x", PHOTO, 404, "no network"),
        ("/", PHOTO, 404, "GET /v1"),
        ("/v1/%2e%2e/%2e%2e/etc/passwd", PHOTO, 404, "no network"),
        ("/v1", PHOTO, 405, "GET, HEAD"),
        ("/health", PHOTO, 405, "GET, HEAD"),
        ("/v1/denoise?los=pixel", PHOTO, 400, "'loss'"),
        ("/v1/denoise?loss=pixel&loss=pixel", PHOTO, 400, "twice"),
        ("/v1/denoise?loss=percpetual", PHOTO, 400, "no loss 'percpetual'"),
        ("/v1/denoise?loss=0.5%0d%0aX:y", PHOTO, 400, "a word of letters"),
        ("/v1/denoise?loss=nan", PHOTO, 400, "nan"),
        ("/v1/denoise?model=/etc/passwd", PHOTO, 400, "no option 'model'"),
        ("/v1/inpaint?mask=/etc/passwd", PHOTO, 400, "no option 'mask'"),
        ("/v1/denoise?" + "&".join("a" * 99), PHOTO, 400, "too many"),
        ("/v1/denoise?format=gif", PHOTO, 400, "gif"),
        ("/v1/upscale?factor=3", PHOTO, 400, "3"),
        ("/v1/upscale?factor=" + "9" * 500, PHOTO, 400, "a whole number"),
        ("/v1/upscale?match_histogram=perhaps", PHOTO, 400, "true or false"),
        ("/v1/invert?rounds=1000000", PHOTO, 400, "from 1 to 16"),
        ("/v1/invert?layer=relu9_1", PHOTO, 400, "relu9_1"),
        ("/v1/stylize", PHOTO, 400, "great_wave"),
        ("/v1/stylize?style=great_wafe", PHOTO, 400, "'great_wave'"),
        ("/v1/stylize?style=../great_wave.safetensors", PHOTO, 400, "a word"),
        ("/v1/stylize?style=great_wave&strength=2", PHOTO, 400, "from 0"),
        ("/v1/stylize?style=great_wave&strength=1e999", PHOTO, 400, "a number"),
        ("/v1/stylize?style=great_wave&size=0", PHOTO, 400, "size 0"),
        ("/v1/stylize?style=great_wave", encoded(picture(8, 8)), 400, "16x16"),
        ("/v1/inpaint", PHOTO, 400, "no transparent pixels"),
        ("/v1/denoise", encoded(picture(1, 40)), 400, "at least 2"),
        ("/v1/denoise", b"x" * 50_001, 413, "50,001 bytes"),
        ("/v1/denoise", bomb(), 413, "30000x30000"),
        ("/v1/denoise", encoded(picture(251, 250), "JPEG"), 413, "250x251"),
        ("/v1/upscale", encoded(picture(64, 64)), 413, "256x256"),
        ("/v1/stylize?style=great_wave&size=9000", PHOTO, 413, "9000x6750"),
        ("/v1/denoise", b"", 415, "empty"),
        ("/v1/denoise", b"<svg/>" * 100, 415, "not a picture"),
        ("/v1/denoise", PHOTO[: len(PHOTO) // 2], 415, "truncated"),
        ("/v1/denoise", moving(), 415, "2 frames"),
        ("/v1/broken", PHOTO, 500, "says why"),
    ],
)
def test_refusals_are_one_sentence(path, body, status, words, port):
    answered, headers, said = ask(port, path, body)
    error = json.loads(said)
    assert (answered, error["status"]) == (status, status), said
    assert headers["Content-Type"] == "application/json"
    assert_sentence(error["error"], words)
    assert (headers["Allow"] is not None) == (status == 405)
    assert ask(port, "/v1/denoise")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/denoise", {}, 405),
        ("PUT", "/v1/denoise", {}, 405),
        ("DELETE", "/v1", {}, 405),
        ("BREW", "/v1", {}, 501),
        ("GET", "/v1", {"Content-Length": "-1"}, 400),
        ("POST", "/v1/denoise", {"Content-Length": "+5"}, 400),
        ("POST", "/v1/denoise", {"Content-Length": "5, 6"}, 400),
        ("POST", "/v1/denoise", {"Content-Length": "9" * 17}, 413),
        ("POST", "/v1/denoise", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/v1/denoise", {}, 411),
        ("POST", "/v1/denoise", {"Accept": "text/html, image/png;q=0"}, 406),
        ("POST", "/v1/denoise", {"Origin": "https://example.org"}, 403),
        ("POST", "/v1/denoise", {"Content-Type": "multipart/form-data; b=x"}, 415),
    ],
)
def test_refusals_by_headers(method, path, headers, status, port):
    if status in (403, 406, 415):
        headers = headers | {"Content-Length": "9"}
    lines = [f"{method} {path} HTTP/1.1", "Host: here"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    said = raw(port, "\r\n".join([*lines, "", "0\r\n\r\n"]).encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    if headers or method == "POST":
        assert b"Connection: close" in head  # what else was sent is no request
    assert_sentence(json.loads(body.partition(b"}")[0] + b"}")["error"])


def test_no_request_at_all_is_a_sentence_too(port):
    for line in (b"\0\1\2 / HTTP/1.1", b"GET / HTTP/9.9", b"GET //[ HTTP/1.1"):
        said = raw(port, line + b"\r\n\r\n")
        assert b'"error"' in said
        assert b" 500 " not in said


# --- many, few places, and clients that are slow or go -------------------------------


def test_fifty_at_once_and_none_is_lost(port):
    photos = [encoded(picture(16, 16, seed)) for seed in range(5)]
    expected = [denoise(decoded(photo)) for photo in photos]
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda n: ask(port, "/v1/denoise", photos[n % 5]), range(50))
        )
    assert [status for status, _, _ in answers] == [200] * 50
    for number, (_, _, body) in enumerate(answers):
        torch.testing.assert_close(
            decoded(body), expected[number % 5], atol=ATOL, rtol=0
        )


@pytest.mark.parametrize("name", ["denoise", "single"])
def test_pictures_that_are_alike_go_together(name, random_zoo, monkeypatch):
    """Each gets its own answer, also where the network takes only one."""
    monkeypatch.setattr(zoo, "RESTORERS", random_zoo["RESTORERS"])
    stub = Stub()
    photos = [encoded(picture(16, 16, seed)) for seed in range(5)]
    with served(stub) as (service, port), ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, port, "/v1/slow")
        wait_for(lambda: stub.seen)
        other = pool.submit(ask, port, f"/v1/{name}")  # of another size
        wait_for(lambda: service.worker.waiting == 1)
        several = [pool.submit(ask, port, f"/v1/{name}", photo) for photo in photos]
        wait_for(lambda: service.worker.waiting == 6)
        stub.gate.set()
        answers = [one.result() for one in (first, other, *several)]
    assert [status for status, _, _ in answers] == [200] * 7
    assert [headers["X-Batch"] for _, headers, _ in answers[:2]] == ["1", "1"]
    batches = sorted(int(headers["X-Batch"]) for _, headers, _ in answers[2:])
    assert batches == [1, 4, 4, 4, 4]
    for photo, (_, _, body) in zip(photos, answers[2:], strict=True):
        image = decoded(photo)
        made = denoise(image) if name == "denoise" else 1 - image
        torch.testing.assert_close(decoded(body), made, atol=ATOL, rtol=0)


def test_a_full_queue_refuses_and_loses_nothing():
    stub = Stub()
    with served(stub, queue=2) as (service, port), ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(ask, port, "/v1/slow") for _ in range(2)]
        wait_for(lambda: service.worker.taken == 2)
        status, headers, body = ask(port, "/v1/slow")
        assert status == 429
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert_sentence(json.loads(body)["error"], "full", "2 pictures")
        head = f"POST /v1/slow HTTP/1.1\r\nContent-Length: {len(PHOTO)}\r\n"
        said = raw(port, f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 429 ")  # before anything is sent
        assert ask(port, "/health", None, "GET")[0] == 200
        stub.gate.set()
        assert [one.result()[0] for one in taken] == [200, 200]
        assert ask(port, "/v1/slow")[0] == 200
        wait_for(lambda: service.worker.taken == 0)  # it counts what it has sent
        health = json.loads(ask(port, "/health", None, "GET")[2])
    assert (health["served"], health["refused"], health["queue"]) == (3, 2, 0)


def test_a_client_that_asks_first_is_told_to_go_on(port):
    head = f"POST /v1/denoise HTTP/1.1\r\nContent-Length: {len(PHOTO)}\r\n"
    said = raw(port, f"{head}Expect: 100-continue\r\n\r\n".encode(), PHOTO)
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_one_connection_for_many_requests(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        first = None
        for body, status in ((PHOTO, 200), (b"no picture", 415), (PHOTO, 200)):
            connection.request("POST", "/v1/denoise", body)
            answer = connection.getresponse()
            answer.read()
            first = first or connection.sock
            assert (answer.status, connection.sock is first) == (status, True)
        connection.request("POST", "/v1/nothing", PHOTO)  # nobody reads the body
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (404, "close")


def test_half_a_body_and_clients_that_go_or_dawdle():
    stub = Stub()
    head = f"POST /v1/slow HTTP/1.1\r\nContent-Length: {len(PHOTO)}\r\n\r\n".encode()
    with served(stub, timeout=0.4, queue=4) as (service, port):
        said = raw(port, head + PHOTO[:99])
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"99 of" in said
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(head + PHOTO[:99])
            assert slow.recv(99).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            with contextlib.suppress(ConnectionError):
                for _ in range(12):  # a header that never ends
                    slow.sendall(b"G")
                    time.sleep(0.1)
            with contextlib.suppress(ConnectionError):
                assert slow.recv(99) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as gone:
            gone.sendall(head + PHOTO)
            wait_for(lambda: stub.seen)
            reset = struct.pack("ii", 1, 0)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        stub.gate.set()
        wait_for(lambda: service.worker.taken == 0)
        assert ask(port, "/v1/slow")[0] == 200
        assert service.worker.done == 2


def test_the_load_test_lost_nothing():
    """`python -m benchmarks.service` writes this record, and ends with its faults."""
    root = Path(__file__).resolve().parent.parent
    text = (root / "notebooks/records/service.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["command"] == "python -m benchmarks.service"
    assert set(record["tasks"]) == {"stylize", "denoise"}
    rows = [record["queue of 2"]]
    for found in record["tasks"].values():
        assert found["largest difference in 1/255"] <= 1
        one, four = found["batch 1"], found["batch 4"]
        assert one["mean batch"] == 1 < four["mean batch"] <= 4
        assert one["refused by 429"] == four["refused by 429"] == 0
        for what in ("processor time", "seconds"):
            rounds = sorted(found[f"{what} by round"])
            assert found[f"batch 1 / batch 4, {what}"] == rounds[len(rounds) // 2]
        rows += [one, four]
    for row in rows:
        assert (row["lost"], row["served"]) == (0, row["requests"])
        assert row["p50 ms"] <= row["p95 ms"]
    assert record["queue of 2"]["refused by 429"] > 0


def test_connections_have_an_end_too():
    with served(queue=1) as (service, port), contextlib.ExitStack() as stack:
        several = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            for _ in range(1 + api._MORE_CONNECTIONS + 1)
        ]
        assert several[-1].recv(99).startswith(b"HTTP/1.1 503 ")
        several[0].close()
        wait_for(lambda: service.health()["ready"] and _asked(port))


def _asked(port: int) -> bool:
    with contextlib.suppress(ConnectionError):
        return ask(port, "/health", None, "GET")[0] == 200
    return False


def test_a_fault_of_ours_is_an_answer(monkeypatch, capsys):
    monkeypatch.setattr(api, "described", lambda service: 1 / 0)
    with served() as (_, port):
        status, _, body = ask(port, "/v1", None, "GET")
    assert status == 500
    assert_sentence(json.loads(body)["error"], "says why")
    assert "ZeroDivisionError" in capsys.readouterr().err


# --- the end ------------------------------------------------------------------------


def test_what_is_queued_is_finished():
    stub = Stub()
    with served(stub) as (service, port), ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(ask, port, "/v1/slow") for _ in range(3)]
        wait_for(lambda: service.worker.taken == 3 and stub.seen)
        closing = pool.submit(service.worker.close)
        wait_for(lambda: service.worker.closing)
        status, headers, body = ask(port, "/v1/slow")
        assert status == 503
        assert headers["Retry-After"]
        assert_sentence(json.loads(body)["error"], "stopping")
        status, _, body = ask(port, "/health", None, "GET")
        assert (status, json.loads(body)["stopping"]) == (503, True)
        assert not closing.done()
        stub.gate.set()
        assert [one.result()[0] for one in taken] == [200] * 3
        assert closing.result() == 3
        assert not service.worker.alive


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_a_signal_ends_it_after_what_is_queued(tmp_path):
    code = "from pltutorial.cli import main; main()"
    words = [sys.executable, "-c", code, "serve", "--api", "--port", "0"]
    numbers = (signal.SIGINT, signal.SIGTERM)
    started = [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        for _ in numbers
    ]
    try:
        for number, process in zip(numbers, started, strict=True):
            _stopped_while_busy(process, number)
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert list(tmp_path.iterdir()) == []


def _stopped_while_busy(process: subprocess.Popen, number: int) -> None:
    """Two pictures are there when the signal comes, and both are answered."""
    address = process.stdout.readline().split()[0]
    assert address.startswith("http://127.0.0.1:")
    port = int(address.removesuffix("/v1").rpartition(":")[2])
    photo = encoded(picture(400, 400))
    with ThreadPoolExecutor(2) as pool:
        path = "/v1/stylize?style=great_wave"
        taken = [pool.submit(ask, port, path, photo) for _ in range(2)]

        def there() -> bool:
            health = json.loads(ask(port, "/health", None, "GET")[2])
            return health["queue"] + health["served"] == 2

        wait_for(there)
        process.send_signal(number)
        assert [one.result()[0] for one in taken] == [200, 200]
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err.startswith("stopped; 2 pictures were answered, ")
    assert err.count("\n") == 1


def test_the_command_refuses_what_does_not_go_together(command, tmp_path):
    for words, said in (
        ((tmp_path, "--api"), "--api were both given"),
        (("--queue", "3"), "give --api"),
        (("--api", "--queue", "0"), "queue=0"),
        (("--api", "--timeout", "nan"), "timeout=nan"),
        (("--api", "--max-megabytes", "0"), "max_megabytes=0"),
        (("--api", "--port", "99999"), "port 99999"),
        (("--api", "--port", "0", "--device", "abacus"), "abacus"),
        (("--api", "--port", "0", "--precision", "int3"), "int3"),
    ):
        assert_refused(command("serve", *words), said)


def test_help_names_the_limits(command):
    code, printed, _ = command("serve", "--help")
    assert code == 0
    options = ("--api", "--batch", "--queue", "--max-megabytes", "--max-pixels")
    for option in (*options, "--timeout", "/v1/NAME", "/health"):
        assert option in printed
