"""What the tests of the live page share: a server, a page that is watched, pictures,
what the package makes of them.
"""

from __future__ import annotations

import functools
import http.server
import io
import re
import sys
import threading
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from test_site import browser

from pltutorial import stylize, zoo
from pltutorial.images import read_image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))

import web  # noqa: E402

__all__ = ["browser"]  # a fixture
SOURCE = ROOT / "book" / "live"
CLOSE = 2 / 255 + 0.5 / 255  # what is saved is rounded to 8 bits
BUDGET = 8e6  # bytes that may come before the first result
SAVING = (
    # then no example is painted
    "Object.defineProperty(navigator, 'connection', {value: {saveData: true}})"
)
KEPT = "() => document.querySelector('#offline').textContent.startsWith('It is kept')"
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Server:
    """A folder served on a port of its own, that can be stopped,
    break, and send headers.
    """

    def __init__(self, folder: Path, headers: dict[str, str] | None = None) -> None:
        self.broken: set[str] = set()
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if any(name in self.path for name in outer.broken):
                    self.send_error(503)
                else:
                    super().do_GET()

            def end_headers(self):
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, *_):
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}/"
        self.address = f"{self.origin}live/index.html"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The live page as the site holds it, laid out by the builder's own function."""
    html = tmp_path_factory.mktemp("site") / "html"
    html.mkdir()
    web.stage_live(html)
    return html


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder)
    yield served
    served.stop()


@pytest.fixture
def visit(browser, server):
    """Open the page; at the end no script may have failed and no request
    have left the origin.
    """
    wrong: list[str] = []
    contexts = []

    def visit(
        address: str = "",
        *,
        width=1280,
        height=900,
        script: str = "",
        expect: str = "",
        example=True,
        done=True,
        **context,
    ):
        """``expect``: console errors that belong to what is tried; ``done``: wait until
        the page is ready.
        """
        context.setdefault("service_workers", "block")
        opened = browser.new_context(
            viewport={"width": width, "height": height}, **context
        )
        contexts.append(opened)
        opened.set_default_timeout(60_000)
        page = opened.new_page()
        page.add_init_script(script if example else f"{script};{SAVING}")
        page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        page.on(
            "console",
            lambda message: (
                message.type == "error"
                and not (expect and re.search(expect, message.text))
                and wrong.append(message.text)
            ),
        )
        opened.on(
            "request",
            lambda request: (
                re.match("https?:", request.url)
                and not request.url.startswith("http://127.0.0.1:")
                and wrong.append(f"asks for {request.url}")
            ),
        )
        page.goto(address or server.address)
        if done and example:
            painted(page)
        elif done:
            page.wait_for_function(
                "() => "
                "document.querySelector('#status').textContent.startsWith('Ready')"
            )
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def painted(page) -> str:
    """Wait until what was asked for is on the screen; returns what the page says."""
    page.wait_for_function(
        """() => {
          const [compare, problem, save] = ["compare", "problem", "save"]
            .map(id => document.getElementById(id));
          const drawn = !compare.hidden && compare.ariaBusy === "false";
          return !problem.hidden || (drawn && !save.disabled);
        }"""
    )
    assert page.locator("#problem").is_hidden(), page.inner_text("#problem-text")
    return page.inner_text("#status")


def choose(page, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})


def complaint(page) -> str:
    page.wait_for_function(
        "() => !document.querySelector('#problem').hidden && "
        "document.querySelector('#compare').ariaBusy !== 'true'"
    )
    return page.inner_text("#problem-text")


def set_range(page, selector: str, value: int) -> None:
    page.locator(selector).evaluate(
        """(input, value) => {
          input.value = value;
          for (const type of ["input", "change"])
            input.dispatchEvent(new Event(type, {bubbles: true}));
        }""",
        str(value),
    )


def saved(page, button: str = "#save") -> torch.Tensor:
    with page.expect_download() as download:
        page.click(button)
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return (
            torch.from_numpy(numpy.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
        )


def picture(width: int, height: int, seed: int = 0, channels: int = 3) -> numpy.ndarray:
    """Something with edges, gradients and noise, (H, W, channels), 8 bits."""
    y, x = numpy.mgrid[:height, :width]
    planes = [
        127 + 80 * numpy.sin(x / (7 + 3 * c)) + 40 * ((y // (9 + c)) % 2)
        for c in range(channels)
    ]
    noise = numpy.random.default_rng(seed).normal(0, 12, (height, width, channels))
    return (numpy.stack(planes, 2) + noise).clip(0, 255).astype(numpy.uint8)


def png(array: numpy.ndarray, mode: str | None = None, **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(file, "PNG", **options)
    return file.getvalue()


def package(data: bytes, tmp_path: Path, style, **options) -> torch.Tensor:
    """What the package makes of these bytes, in full precision."""
    path = tmp_path / "given.png"
    path.write_bytes(data)
    network = zoo.load_style("eight_styles", "cpu")
    return stylize(
        read_image(path), style, network=network, precision="float32", **options
    )


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())
