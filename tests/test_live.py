"""The live page in Chromium: what it saves is what the package computes, by pointer and
by keyboard, in every size.
"""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import zlib

import numpy
import pytest
from live import (
    BUDGET,
    CLOSE,
    ISOLATED,
    ROOT,
    SOURCE,
    Server,
    browser,
    choose,
    folder,
    largest,
    package,
    painted,
    picture,
    png,
    saved,
    server,
    set_range,
    visit,
    web,
)
from PIL import Image, ImageCms

from pltutorial import restoration, zoo
from pltutorial.images import read_image, resize

__all__ = ["browser", "folder", "server", "visit"]  # fixtures


# --- the parts ------------------------------------------------------------------------


def test_units_of_the_page():
    node, _ = web.node_and_npm()
    command = [*node, "--test", *map(str, sorted(SOURCE.glob("*.test.js")))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout[-5000:]
    assert int(re.search(r"^# pass (\d+)", run.stdout, re.MULTILINE)[1]) >= 25


def test_types_of_the_page():
    node, _ = web.node_and_npm()
    compiler = web.install_packages() / "typescript" / "bin" / "tsc"
    command = [*node, str(compiler), "--project", str(ROOT / "book" / "tsconfig.json")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout


# --- what it computes -----------------------------------------------------------------


def test_saved_picture_is_the_packages(visit, tmp_path):
    """Odd sizes, as they are; then another style, half a mixture, less strength, the
    photo's colours; each saved.
    """
    page = visit(example=False)
    page.check("#as-is")
    data = png(picture(163, 121))
    choose(page, "given.png", data)
    assert "163 × 121 pixels" in painted(page)
    assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE
    # faster than it paints: the last one counts
    for style in ("village_street", "cafe_terrace", "poppies"):
        page.check(f"input[value={style}]", force=True)
    painted(page)
    assert largest(saved(page), package(data, tmp_path, "poppies")) <= CLOSE
    page.select_option("#second", "starry_night")
    set_range(page, "#mix", 30)
    painted(page)
    blend = {"poppies": 0.7, "starry_night": 0.3}
    assert largest(saved(page), package(data, tmp_path, blend)) <= CLOSE
    set_range(page, "#strength", 60)
    painted(page)
    assert largest(saved(page), package(data, tmp_path, blend, strength=0.6)) <= CLOSE
    page.check("#colors")
    painted(page)
    wanted = package(data, tmp_path, blend, strength=0.6, preserve_color="luminance")
    assert largest(saved(page), wanted) <= CLOSE
    set_range(page, "#strength", 0)
    painted(page)
    assert largest(saved(page), read_image(tmp_path / "given.png")) < 1e-6


def test_sizes_are_the_packages(visit, tmp_path):
    page = visit(example=False)
    data = png(picture(333, 190, 1))
    set_range(page, "#size", 256)
    choose(page, "given.png", data)
    assert "256 × 146 pixels" in painted(page)
    assert (
        largest(saved(page), package(data, tmp_path, "great_wave", size=256)) <= CLOSE
    )
    for step, stroke in ((2, 2.0), (-1, 0.5**0.5)):  # larger and finer strokes
        set_range(page, "#stroke", step)
        painted(page)
        wanted = package(data, tmp_path, "great_wave", size=256, stroke=stroke)
        assert largest(saved(page), wanted) <= CLOSE
    assert page.inner_text("#stroke-value") == "0.7 times"
    set_range(page, "#stroke", 0)
    page.check("#as-is")
    choose(page, "long.png", png(picture(1300, 40)))
    assert "1,024 × 32 pixels, shrunk from 1,300 × 40" in painted(page)
    set_range(page, "#stroke", -2)
    assert "Finer strokes need a smaller longer side" in painted(page)


def profile() -> bytes:
    """A colour profile, which a canvas may follow and the package does not."""
    lab = ImageCms.createProfile("LAB")
    return ImageCms.ImageCmsProfile(lab).tobytes()


def with_gamma(data: bytes) -> bytes:
    """A PNG that asks for brightness correction, which a canvas would do and
    the package does not.
    """
    body = b"gAMA" + struct.pack(">I", 100_000)
    return (
        data[:33]
        + struct.pack(">I", 4)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + data[33:]
    )


ALPHA = numpy.dstack(
    [
        picture(48, 40),
        numpy.linspace(0, 255, 48 * 40).reshape(40, 48).astype(numpy.uint8),
    ]
)
KINDS = {
    "transparent": lambda: png(ALPHA),
    "gamma": lambda: with_gamma(png(picture(48, 40))),
    "profile": lambda: png(picture(48, 40), icc_profile=profile()),
    "palette": lambda: png(picture(48, 40), "P"),
    "keyed": lambda: png(picture(48, 40), "P", transparency=3),
    "grey": lambda: png(picture(48, 40), "L"),
    "black and white": lambda: png(picture(48, 40), "1"),
    "grey, 16 bits": lambda: png(picture(48, 40)[..., 0].astype(numpy.uint16) * 251),
}


def test_every_kind_of_png_is_read_as_the_package_reads_it(visit, tmp_path):
    page = visit(example=False)
    page.check("#as-is")
    for name, make in KINDS.items():
        data = make()
        choose(page, f"{name}.png", data)
        painted(page)
        assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE, (
            name
        )


def test_photo_of_a_phone_stands_upright(visit, tmp_path):
    page = visit(example=False)
    page.check("#as-is")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    smooth = Image.fromarray(picture(160, 90)).resize((16, 9)).resize((160, 90))
    path = tmp_path / "photo.jpg"
    smooth.save(path, quality=95, subsampling=0, exif=exif)
    choose(page, "photo.jpg", path.read_bytes())
    assert "90 × 160 pixels" in painted(page)
    set_range(page, "#strength", 0)
    painted(page)
    assert largest(saved(page), read_image(path)) <= 4 / 255  # two decoders of JPEG


def test_enlargement_is_the_packages_and_has_no_seam(visit, tmp_path):
    """300 pixels need two tiles of at most 256; the package computes
    the picture in one.
    """
    page = visit(example=False)
    data = png(picture(300, 24, 2))
    page.check("#as-is")
    choose(page, "small.png", data)
    painted(page)
    page.select_option("#enlarge-size", "")
    page.click("#enlarge")
    page.wait_for_selector("#zoom:not([hidden])")
    assert "from 300 × 24 pixels to 1,200 × 96 pixels" in page.inner_text(
        "#enlarge-status"
    )
    path = tmp_path / "small.png"
    path.write_bytes(data)
    for loss in ("pixel", "feature"):
        network = zoo.load_restorer("upscale", loss, device="cpu")
        wanted = restoration.upscale(
            read_image(path), network=network, precision="float32"
        )
        assert largest(saved(page, f"[data-save={loss}]"), wanted) <= CLOSE, loss
    # two of them under a divider, at most 1024 pixels wide
    said = "e => [e.width, e.height, e.getAttribute('aria-label')]"
    page.select_option("#pair-left", "pixel")
    views = [
        page.locator(f"#pair .{side}").evaluate(said) for side in ("before", "after")
    ]
    assert views == [[1024, 82, "Pixel loss"], [1024, 82, "Feature loss"]]
    page.locator("#pair [role=slider]").press("Home")
    assert (
        page.locator("#pair [role=slider]").get_attribute("aria-valuetext")
        == "0 % Pixel loss, 100 % Feature loss"
    )
    assert (
        largest(
            saved(page, "[data-save=bicubic]"), resize(read_image(path), (96, 1200))
        )
        <= CLOSE
    )


def test_threads_where_the_server_allows(browser, folder, visit, tmp_path):
    isolated = Server(folder, ISOLATED)
    try:
        page = visit(isolated.address, example=False)
        assert page.evaluate("crossOriginIsolated")
        data = png(picture(120, 80))
        page.check("#as-is")
        choose(page, "given.png", data)
        painted(page)
        cores = page.evaluate("Math.min(4, navigator.hardwareConcurrency)")
        assert page.inner_text("#threads") == (
            f"here on {cores} threads" if cores > 1 else "here on one thread"
        )
        assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE
    finally:
        isolated.stop()


# --- how it is used -------------------------------------------------------------------


def test_first_result_comes_with_little_and_the_rest_when_asked(browser, folder):
    served = Server(folder)
    try:
        context = browser.new_context(service_workers="block")
        page = context.new_page()
        page.goto(served.address)
        painted(page)
        names = {path.split("?")[0].lstrip("/") for path in served.asked}
        transfer = sum(
            len(gzip.compress((folder / name).read_bytes(), 6))
            for name in names
            if (folder / name).is_file()
        )
        assert 3e6 < transfer < BUDGET
        assert not [name for name in names if "upscale_x4" in name]
        page.click("#enlarge")
        page.wait_for_selector("#zoom:not([hidden])", timeout=60_000)
        assert len({path for path in served.asked if "upscale_x4" in path}) == 2
        context.close()
    finally:
        served.stop()


def test_keyboard_alone(visit):
    page = visit(reduced_motion="reduce")
    focused = (
        "(e => e.id || e.name || e.getAttribute('role') || e.title || "
        "e.tagName)(document.activeElement)"
    )

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == wanted:
                return
        pytest.fail(f"Tab never comes to {wanted}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("slider")
    handle = page.locator("#compare [role=slider]")
    assert handle.get_attribute("aria-valuenow") == "50", (
        "with reduced motion nothing moves by itself"
    )
    for key, value in {
        "Home": 0,
        "ArrowRight": 2,
        "PageUp": 12,
        "End": 100,
        "ArrowLeft": 98,
    }.items():
        page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == str(value)
        assert (
            handle.get_attribute("aria-valuetext")
            == f"{value} % photo, {100 - value} % print"
        )
    tab_to("save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "pagoda-great_wave.png"
    tab_to("file")
    tab_to("Chelsea the cat")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('#credit').textContent.includes('Chelsea')"
    )
    painted(page)
    tab_to("style")
    page.keyboard.press("ArrowRight")
    painted(page)
    assert "Hiroshige" in page.inner_text("#style-title")
    tab_to("second")
    tab_to("strength")
    page.keyboard.press("Home")
    assert page.inner_text("#strength-value") == "0 %"
    painted(page)
    tab_to("enlarge")
    page.keyboard.press("Enter")
    page.wait_for_selector("#zoom:not([hidden])")
    tab_to("zoom-in")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('#zoom-value').value === '140 %'"
    )
    tab_to("img")  # the first of the enlarged pictures
    page.keyboard.press("0")
    page.wait_for_function(
        "() => document.querySelector('#zoom-value').value === '100 %'"
    )


def test_divider_follows_the_pointer(visit):
    page = visit()
    box = page.locator("#compare").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    assert page.locator("#compare [role=slider]").get_attribute("aria-valuenow") == "20"
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60)
    assert page.locator("#compare [role=slider]").get_attribute("aria-valuenow") == "20"


FILES = """async type => {
  const canvas = new OffscreenCanvas(70, 50);
  canvas.getContext("2d").fillRect(0, 0, 40, 30);
  const transfer = new DataTransfer();
  const blob = await canvas.convertToBlob();
  transfer.items.add(new File([blob], "given.png", {type: "image/png"}));
  const data = type === "drop" ? {dataTransfer: transfer} : {clipboardData: transfer};
  const kind = type === "drop" ? DragEvent : ClipboardEvent;
  const event = new kind(type, {bubbles: true, cancelable: true, ...data});
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(visit, way):
    page = visit(example=False)
    page.check("#as-is")
    page.evaluate(FILES, way)
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('70 × 50')"
    )
    painted(page)


CAMERA = """
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {width: 320, height: 240});
  const context = canvas.getContext("2d");
  setInterval(() => context.fillRect(9, 9, performance.now() % 90, 50), 30);
  return window.stream = canvas.captureStream(30);
};
"""


def test_a_photo_is_taken(visit):
    page = visit(script=CAMERA, example=False)
    page.check("#as-is")
    page.click("#camera")
    page.wait_for_function("() => document.querySelector('video').videoWidth === 320")
    page.click("dialog .shoot")
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('320 × 240')"
    )
    painted(page)
    assert page.locator("dialog").is_hidden()
    assert page.evaluate(
        "stream.getTracks().every(track => track.readyState === 'ended')"
    ), "the camera is off"


def test_cancelling_ends_the_work_and_nothing_else(visit):
    page = visit()
    set_range(page, "#size", 1024)
    page.click("#cancel")
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.startsWith('Stopped')"
    )
    assert page.locator("#problem").is_hidden()
    assert page.locator("#cancel").is_hidden()
    set_range(page, "#size", 256)
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('256 ×')"
    )
    painted(page)


# --- how it looks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "dark"), (390, "light"), (1280, "dark")]
)
def test_it_fits_and_follows_the_colours(visit, width, scheme):
    page = visit(width=width, height=800, color_scheme=scheme, done=False)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= width
    painted(page)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.click("#enlarge")
    page.wait_for_selector("#zoom:not([hidden])")
    assert page.evaluate(wide) <= width
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .button, .thumb")]
          .filter(e => e.offsetWidth)
          .map(e => [e.id || e.className, e.offsetWidth, e.offsetHeight])
          .filter(([, w, h]) => w < 44 || h < 40)"""
    )
    assert small == [], "large enough for a finger"
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    for _ in range(3):  # automatic, light, dark
        page.click("#theme")
        if page.evaluate("document.documentElement.dataset.theme") != scheme:
            break
    assert page.evaluate(background) != before
    stored = page.evaluate(
        "[localStorage.getItem('mode'), localStorage.getItem('theme')]"
    )
    assert (
        stored[0]
        == stored[1]
        == page.evaluate("document.documentElement.dataset.theme")
    )
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == stored[1], (
        "remembered, as on the other pages"
    )


def test_print_shows_the_picture_alone(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator("#compare").is_visible()
    for hidden in ("nav", "#settings", "#photo", "#save", "#enlarge"):
        assert page.locator(hidden).first.is_hidden(), hidden
