"""The site in Firefox: chapters and the live page, whose saved picture is compared with the package's."""

from __future__ import annotations

import os

import pytest
from firefox import MISSING, Firefox, executable
from test_site import CHAPTERS, address, site

__all__ = ["address", "site"]  # fixtures


@pytest.fixture(scope="module")
def firefox():
    if executable() is None:
        assert not os.environ.get("PLTUTORIAL_REQUIRE_BROWSER"), MISSING
        pytest.skip(MISSING)
    browser = Firefox()
    yield browser
    browser.close()


@pytest.fixture
def visit(firefox, address):
    """Open a page; at the end no script may have failed and no request have left the origin."""
    firefox.requests.clear()
    firefox.errors.clear()

    def visit(name: str, width: int = 1280, height: int = 900) -> None:
        firefox.open(f"{address}{name}.html", width, height)

    yield visit
    assert firefox.errors == []
    assert firefox.requests, "the requests were watched"
    local = (address, "data:", f"blob:{address.rstrip('/')}")
    assert [url for url in firefox.requests if not url.startswith(local)] == []


@pytest.mark.parametrize("page", [CHAPTERS[0], CHAPTERS[4]])
def test_chapter(firefox, visit, page):
    """On a phone: nothing sideways, formulas set, pictures shown, sliders moved by keyboard."""
    visit(page, 390, 844)
    assert firefox.run("document.documentElement.scrollWidth <= innerWidth")
    firefox.wait("!!document.querySelector('article mjx-container[display=true]')")
    assert firefox.run("document.querySelectorAll('article mjx-merror').length") == 0
    shown = """(async () => {
      const images = [...document.querySelectorAll('article img')];
      for (const image of images) { image.loading = 'eager'; await image.decode().catch(() => {}); }
      return images.filter(image => !image.naturalWidth).map(image => image.alt);
    })()"""
    assert firefox.run(shown) == []
    state = """(() => {
      const slider = document.querySelector('.frame-slider'), control = slider.querySelector('input');
      const image = slider.querySelector('img');
      return [control.value, control.getAttribute('aria-valuetext'), image.alt, image.src.length];
    })()"""
    firefox.run("document.querySelector('.frame-slider input').focus()")
    firefox.press("Home")
    before = firefox.run(state)
    firefox.press("ArrowRight")
    after = firefox.run(state)
    assert [old == new for old, new in zip(before[:3], after[:3], strict=True)] == [False] * 3
