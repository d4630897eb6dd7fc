"""The built site, served and opened in Chromium; the fixtures of every test
that looks at a page.
"""

from __future__ import annotations

import atexit
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest

from book.chapters import CHAPTERS as TABLE
from book.chapters import pages

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "build" / "site" / "_build" / "html"
DOCUMENTS = pages()
CHAPTERS = [chapter.document for chapter in TABLE]
PAGES = [*DOCUMENTS, "genindex", "search"]
NO_BROWSER = (
    "there is no Chromium; get it with `apt-get install chromium "
    "fonts-dejavu` (Debian, Ubuntu) or `brew install --cask chromium` "
    "(macOS), then run `make test` again"
)


class Elements(HTMLParser):
    """All start tags of a page, as (tag, attributes)."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]

    def anchors(self) -> set[str]:
        return {
            attributes["id"] for _, attributes in self.found if attributes.get("id")
        }


@pytest.fixture(scope="session")
def site() -> Path:
    """The site of the stored outputs, built unless this very site is there already."""
    command = [sys.executable, str(ROOT / "book" / "build.py"), "site"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    return HTML


def executable() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    macos = ("/Applications/Chromium.app/Contents/MacOS/Chromium",)
    return next(filter(None, map(shutil.which, (*names, *macos))), None)


@functools.cache
def launched(chromium: str):
    """One Chromium for the whole run: Playwright cannot be started a second
    time in one thread.
    """
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    opened = playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
    )
    atexit.register(playwright.stop)
    return opened


@pytest.fixture(scope="session")
def browser():
    chromium = executable()
    if chromium is None:
        assert not os.environ.get("PLTUTORIAL_REQUIRE_BROWSER"), NO_BROWSER
        pytest.skip(NO_BROWSER)
    return launched(chromium)


class Handler(http.server.SimpleHTTPRequestHandler):
    """A quiet server of files that answers a wrong address with the site's own page, as
    GitHub Pages does.
    """

    def log_message(self, *_):
        pass

    def send_error(self, code, message=None, explain=None):
        if code != 404 or self.command != "GET":
            super().send_error(code, message, explain)
            return
        page = (HTML / "404.html").read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="session")
def address(site):
    """The site served from this machine."""
    server = serve(site)
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser, address):
    """Open a page of the site and return it; at the end nothing may have gone wrong or
    asked the network.
    """
    wrong: list[str] = []
    contexts = []

    def visit(
        name: str,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        **settings,
    ):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **settings
        )
        contexts.append(context)

        def watch(route):
            if route.request.url.startswith(address):
                route.continue_()
            else:
                wrong.append(f"{name} asks for {route.request.url}")
                route.abort()

        context.route(re.compile("^(?!data:)"), watch)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on(
            "console",
            lambda message: (
                message.type == "error" and wrong.append(f"{name}: {message.text}")
            ),
        )
        page.on(
            "response",
            lambda reply: (
                reply.status >= 400 and wrong.append(f"{reply.status} {reply.url}")
            ),
        )
        page.goto(f"{address}{name}.html", wait_until="load")
        page.wait_for_function(
            "!window.MathJax || !MathJax.startup || MathJax.startup.promise"
        )
        page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)
