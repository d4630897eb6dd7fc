"""The static server: its headers and types, nothing from outside its folder, and one
sentence for each bad address.
"""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from helpers import assert_sentence

from pltutorial import InputError
from pltutorial.cli import serve as serving

FILES = {
    "index.html": b"<!doctype html><title>front</title>" + b"x" * 2000,
    "404.html": b"<!doctype html><title>lost</title>",
    "live/index.html": b"live",
    "live/sw.js": b"self;",
    "live/ort/ort.mjs": b"export {};",
    "live/ort/ort.wasm": b"\0asm" + bytes(5000),
    "live/models/a.onnx": bytes(range(256)),
    "live/models.json": b"{}",
    "live/live.css": b"a {}",
    "images/a.webp": b"RIFF",
    "empty/.keep": b"",
    ".env": b"secret",
    ".git/config": b"secret",
    "none.txt": b"",
}
TYPES = {
    "/": "text/html",
    "/live/sw.js": "text/javascript",
    "/live/ort/ort.mjs": "text/javascript",
    "/live/ort/ort.wasm": "application/wasm",
    "/live/models/a.onnx": "application/octet-stream",
    "/live/models.json": "application/json",
    "/live/live.css": "text/css",
    "/images/a.webp": "image/webp",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "site"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder.parent / "secret.txt").write_bytes(b"secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "inner.txt").symlink_to(folder / "live" / "live.css")
    (folder / "hidden.txt").symlink_to(folder / ".env")
    (folder / "loop").symlink_to("loop")
    (folder / "piped").mkdir()
    for name in ("pipe.txt", "pipe.html", "piped/index.html"):
        if hasattr(os, "mkfifo"):
            os.mkfifo(folder / name)
    return folder


@pytest.fixture(scope="module")
def port(site):
    with serving.start(site, 0) as listening:
        thread = threading.Thread(
            target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def ask(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of a raw request: nothing tidies up
    the path on the way.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


@pytest.mark.parametrize(("path", "kind"), TYPES.items())
def test_types_and_headers(path, kind, port):
    status, headers, body = ask(port, path)
    assert status == 200
    assert headers["Content-Type"].split(";")[0] == kind
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert body == FILES[path.lstrip("/") or "index.html"]
    assert headers["Server"] == "pltutorial"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "'wasm-unsafe-eval'" in policy
    assert "http" not in policy


def test_folders_and_heads(port):
    status, headers, _ = ask(port, "/live")
    assert (status, headers["Location"]) == (301, "/live/")
    assert ask(port, "/live/?a=b")[::2] == (200, b"live")
    status, headers, body = ask(port, "/live/models/a.onnx", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "256", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/live/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/live/..%2f..%2fsecret.txt",
        "//../secret.txt",
        "/..\\secret.txt",
        "/link.txt",
        "/a%00b",
        "/" + "a" * 300,
        "/nothing.html",
        "/empty/",
        "/index.html/",
        "/.env",
        "/.git/config",
        "/.git/",
        "/live/%2e/../.env",
        "/hidden.txt",
        "/pipe.txt",
        "/pipe.html",
        "/piped/",
        "/loop",
        "/loop/",
        "/loop/a.html",
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_nothing_from_outside_and_no_lists(path, encoding, port):
    status, headers, body = ask(port, path, Accept_Encoding=encoding)
    assert status == 404
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert b"secret" not in body
    assert body == FILES["404.html"]


def test_links_inside_are_followed(port):
    assert ask(port, "/inner.txt")[::2] == (200, b"a {}")


def test_text_and_programs_are_packed_for_those_who_unpack(port):
    status, headers, body = ask(port, "/live/ort/ort.wasm", Accept_Encoding="gzip, br")
    assert (status, headers["Content-Encoding"], headers["Content-Type"]) == (
        200,
        "gzip",
        "application/wasm",
    )
    assert int(headers["Content-Length"]) == len(body) < 200
    assert gzip.decompress(body) == FILES["live/ort/ort.wasm"]
    status, again, body = ask(
        port,
        "/live/ort/ort.wasm",
        Accept_Encoding="gzip",
        If_Modified_Since=headers["Last-Modified"],
    )
    assert (status, body) == (304, b"")
    assert again["Cross-Origin-Embedder-Policy"] == "require-corp"
    status, headers, body = ask(port, "/", "HEAD", Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"], body) == (200, "gzip", b"")
    assert (
        "Content-Encoding"
        not in ask(port, "/live/models/a.onnx", Accept_Encoding="gzip")[1]
    )


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("notgzip", False),
        ("gzip;q=" + "9" * 5000, False),
    ],
)
def test_gzip_is_sent_to_those_who_take_it(accepted, packed, port):
    status, headers, body = ask(port, "/", Accept_Encoding=accepted)
    assert (status, headers["Vary"]) == (200, "Accept-Encoding")
    assert (headers["Content-Encoding"] == "gzip") == packed
    page = gzip.decompress(body) if packed else body
    assert page == FILES["index.html"]


WHOLE = FILES["live/models/a.onnx"]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("bytes=0-3", WHOLE[:4]),
        ("bytes=250-", WHOLE[250:]),
        ("bytes=250-9999", WHOLE[250:]),
        ("bytes=-6", WHOLE[-6:]),
        ("bytes=-9999", WHOLE),
        ("bytes=0-" + "9" * 5000, WHOLE),
    ],
)
def test_a_part_of_a_file(asked, sent, port):
    status, headers, body = ask(
        port, "/live/models/a.onnx", Range=asked, Accept_Encoding="gzip"
    )
    assert (status, body) == (206, sent)
    first = WHOLE.index(sent)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(sent) - 1}/256"
    assert headers["Content-Length"] == str(len(sent))


@pytest.mark.parametrize(
    "asked", ["bytes=256-", "bytes=-0", "bytes=" + "9" * 5000 + "-"]
)
def test_a_part_that_is_not_there(asked, port):
    status, headers, body = ask(port, "/live/models/a.onnx", Range=asked)
    assert (status, headers["Content-Range"], body) == (416, "bytes */256", b"")
    status, headers, _ = ask(port, "/none.txt", Range="bytes=0-")
    assert (status, headers["Content-Range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    "asked", ["bytes=3-1", "bytes=-", "bytes=a-b", "lines=0-3", "bytes=0-1,4-5", ""]
)
def test_ranges_that_nobody_knows_give_the_whole(asked, port):
    status, headers, body = ask(port, "/live/models/a.onnx", Range=asked)
    assert (status, headers["Accept-Ranges"], body) == (200, "bytes", WHOLE)


def test_a_part_is_one_of_the_same_file(port):
    path, when = "/live/models/a.onnx", "Mon, 01 Jan 2001 00:00:00 GMT"
    assert ask(port, path, Range="bytes=0-3", If_Range=when)[::2] == (200, WHOLE)
    stamp = ask(port, path)[1]["Last-Modified"]
    assert ask(port, path, Range="bytes=0-3", If_Range=stamp)[0] == 206
    assert ask(port, path, "HEAD", Range="bytes=0-3")[0] == 200
    # what a connection sends next is not what is left of the file
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        connection.request("GET", path, headers={"Range": "bytes=4-7"})
        assert connection.getresponse().read() == WHOLE[4:8]
    connection.close()


def test_changed_file_is_sent_anew(site, port):
    page = site / "changing.html"
    page.write_bytes(b"one")
    assert (
        gzip.decompress(ask(port, "/changing.html", Accept_Encoding="gzip")[2])
        == b"one"
    )
    page.write_bytes(b"another")
    assert (
        gzip.decompress(ask(port, "/changing.html", Accept_Encoding="gzip")[2])
        == b"another"
    )


def test_server_is_for_this_machine_alone_unless_asked(site):
    with serving.start(site, 0) as listening:
        assert listening.server_address[0] == "127.0.0.1"


def test_bad_addresses_are_one_sentence(site, port, tmp_path, monkeypatch):
    given = (
        ((site, port), "is in use; give another"),
        ((site, 99999), "port 99999 was given"),
        ((site, 0, "no.such.host.invalid"), "is unknown"),
        ((tmp_path / "none", 0), "does not exist"),
        ((site / "index.html", 0), "is a file"),
    )
    for arguments, words in given:
        with pytest.raises(InputError) as problem:
            serving.start(*arguments)
        assert words in str(problem.value)
        assert_sentence(str(problem.value))


def test_without_a_folder_it_is_the_built_site(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "SITE", Path("built") / "html")
    with pytest.raises(InputError, match="`make site`") as problem:
        serving.start()
    assert_sentence(str(problem.value))
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "html").symlink_to(site)
    with serving.start(port=0) as listening:
        assert listening.RequestHandlerClass.root == site


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM],
)
def test_command_says_where_and_ends_with_a_sentence(number, site, port):
    code = "from pltutorial.cli import main; main()"
    arguments = [sys.executable, "-c", code, "serve", str(site), "--port", "0"]
    # what a shell starts in the background ignores Ctrl-C, and so would
    # these tests' children
    heed = (
        {}
        if sys.platform == "win32"
        else {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, **pipes, **heed) as process:
        try:
            address = process.stdout.readline().split()[0]
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.read() == FILES["index.html"]
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (128 + number, "")
    assert err == "stopped; nothing is served any more\n"
    assert address.startswith("http://127.0.0.1:")
    taken = subprocess.run(
        [*arguments[:-1], str(port)], capture_output=True, text=True, timeout=60
    )
    assert (taken.returncode, taken.stdout) == (2, "")
    assert (
        taken.stderr
        == f"error: port {port} is in use; give another, such as --port {port + 1}\n"
    )


def test_serving_loads_nothing_heavy():
    code = (
        "import sys; from pltutorial.cli import app, serve\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'onnx'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        ).stdout.strip()
        == "[]"
    )
