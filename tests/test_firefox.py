"""The site in Firefox: chapters and the live page, whose saved picture is compared
with the package's.
"""

from __future__ import annotations

import os

import numpy
import pytest
import torch
from browsing import CHAPTERS, address, site
from firefox import MISSING, Firefox, executable
from PIL import Image

from pltutorial import (
    LossNetwork,
    bundled,
    feature_loss,
    networks,
    pixel_loss,
    read_image,
    zoo,
)

__all__ = ["address", "site"]  # fixtures


# What a slider says, once the picture that it shows is the one that it says.
SHOWN = """(() => {
  const slider = document.querySelector('.frame-slider');
  const said = slider.querySelector('input').ariaValueText;
  const seen = slider.querySelector('.on img').alt;
  return seen.endsWith(said) && [said, seen];
})()"""
READY = "document.querySelectorAll('#styles img').length === 8"


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
    """Open a page; at the end no script may have failed and no request
    have left the origin.
    """
    firefox.open("about:blank")  # what leaving the last page cuts off is said by then
    firefox.run("new Promise(done => setTimeout(done, 300))")
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
    """On a phone: nothing sideways, formulas set, pictures shown, sliders
    moved by keyboard.
    """
    visit(page, 390, 844)
    assert firefox.run("document.documentElement.scrollWidth <= innerWidth")
    firefox.wait("!!document.querySelector('article mjx-container[display=true]')")
    assert firefox.run("document.querySelectorAll('article mjx-merror').length") == 0
    shown = """(async () => {
      const images = [...document.querySelectorAll('article img')];
      for (const image of images) {
        image.loading = 'eager';
        await image.decode().catch(() => {});
      }
      return images.filter(image => !image.naturalWidth).map(image => image.alt);
    })()"""
    assert firefox.run(shown) == []
    firefox.run("document.querySelector('.frame-slider input').focus()")
    firefox.press("Home")
    first = firefox.wait(SHOWN)
    firefox.press("ArrowRight")
    second = firefox.wait(SHOWN)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_live_page_paints_what_the_package_paints(firefox, visit, tmp_path):
    """A PNG of odd size is taken as it is, painted by two mixed styles, and saved; the
    pixels are the package's.
    """
    photo = tmp_path / "photo.png"
    with Image.open(bundled("content/pagoda")) as picture:
        picture.convert("RGB").resize((163, 109)).save(photo)
    visit("live/index")
    firefox.wait(READY)
    firefox.click("#as-is")
    firefox.run(
        "(() => { const second = document.querySelector('#second'); "
        "second.value = 'starry_night'; second.dispatchEvent(new "
        "Event('change', {bubbles: true})); })()"
    )
    firefox.choose_file("#file", photo)
    painted = "document.querySelector('#status').textContent.startsWith('Painted')"
    firefox.wait(
        f"{painted} && document.querySelector('#status').textContent.includes('163')"
    )
    assert firefox.run("document.querySelector('#problem').hidden")
    firefox.click("#save")
    saved = firefox.download()
    assert saved.suffix == ".png"
    network = zoo.load_style("eight_styles", "cpu")
    style = network.blend({"great_wave": 1, "starry_night": 1})
    wanted = (
        networks.apply(network, read_image(photo), style, precision="float32")[0]
        .permute(1, 2, 0)
        .numpy()
    )
    with Image.open(saved) as picture:
        assert picture.size == (163, 109)
        got = numpy.asarray(picture.convert("RGB")) / 255
    assert numpy.abs(got - wanted).max() <= 2 / 255
    assert (
        numpy.abs(got - read_image(photo)[0].permute(1, 2, 0).numpy()).mean() > 0.05
    ), "it is not the photo"


def test_lab_judges_as_the_package_judges(firefox, visit):
    """Squared error and relu2_2 of two pictures, read off the page."""
    visit("live/thesis", 390, 844)
    firefox.wait("document.documentElement.dataset.complete === 'yes'")
    assert firefox.run("document.documentElement.scrollWidth <= innerWidth")
    said = firefox.run(
        "[...document.querySelectorAll('#judges tr')].map(row => "
        "[...row.querySelectorAll('td')].map(cell => Number(cell.textContent)))"
    )
    read = """(selector => {
      const canvas = document.querySelector(selector);
      const context = canvas.getContext("2d");
      const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
      return [...data].join(" ");
    })"""
    pictures = []
    for place in ("[data-side=a] canvas", ".photo-pane canvas", "[data-side=b] canvas"):
        text = firefox.run(f'{read}("{place}")')
        values = numpy.array(text.split(), numpy.uint8).reshape(192, 192, 4)
        picture = torch.from_numpy(values[..., :3].copy()).permute(2, 0, 1)
        pictures.append(picture[None] / 255)
    a, photo, b = pictures
    network = LossNetwork(precision="float32", device="cpu")
    layer = "relu2_2"
    target = network(photo, [layer])[layer]
    for at, picture in ((0, a), (2, b)):
        feature = network(picture, [layer])[layer]
        expected = feature_loss(feature, target, normalization="relative")
        assert said[0][at] == pytest.approx(float(pixel_loss(picture, photo)), 0.006)
        assert said[4][at] == pytest.approx(float(expected), 0.006)


@pytest.mark.parametrize("width", [1280, 390])
def test_live_page_fits(firefox, visit, width):
    visit("live/index", width, 844)
    firefox.wait(READY)
    assert firefox.run("document.documentElement.scrollWidth <= innerWidth")
