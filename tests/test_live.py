"""The live page in Chromium: what it saves is what the package computes, and it says so when something goes wrong."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import re
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from test_site import browser

from pltutorial import restoration, zoo
from pltutorial.images import read_image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))

import web  # noqa: E402

__all__ = ["browser"]  # a fixture
SOURCE = ROOT / "book" / "live"
CLOSE = 2 / 255 + 0.5 / 255  # what is saved is rounded to 8 bits
BUDGET = 8e6  # bytes that may come before the first result
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Server:
    """A folder served on a port of its own, that can be stopped, break, and send headers."""

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
    """Open the page; at the end no script may have failed and no request have left the origin."""
    wrong: list[str] = []
    contexts = []

    def visit(
        address: str = "", *, width=1280, height=900, script: str = "", expect: str = "", done=True, **context
    ):
        """``expect``: console errors that belong to what is tried; ``done``: wait for the example."""
        context.setdefault("service_workers", "block")
        opened = browser.new_context(viewport={"width": width, "height": height}, **context)
        contexts.append(opened)
        opened.set_default_timeout(60_000)
        page = opened.new_page()
        if script:
            page.add_init_script(script)
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
        if done:
            painted(page)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def painted(page) -> str:
    """Wait until what was asked for is on the screen; returns what the page says."""
    page.wait_for_function(
        """() => {
          const [compare, problem, save] = ["compare", "problem", "save"].map(id => document.getElementById(id));
          return !problem.hidden || (!compare.hidden && compare.ariaBusy === "false" && !save.disabled);
        }"""
    )
    assert page.locator("#problem").is_hidden(), page.inner_text("#problem-text")
    return page.inner_text("#status")


def choose(page, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})


def complaint(page) -> str:
    page.wait_for_function(
        "() => !document.querySelector('#problem').hidden && document.querySelector('#compare').ariaBusy !== 'true'"
    )
    return page.inner_text("#problem-text")


def set_range(page, selector: str, value: int) -> None:
    page.locator(selector).evaluate(
        """(input, value) => {
          input.value = value;
          for (const type of ["input", "change"]) input.dispatchEvent(new Event(type, {bubbles: true}));
        }""",
        str(value),
    )


def saved(page, button: str = "#save") -> torch.Tensor:
    with page.expect_download() as download:
        page.click(button)
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return torch.from_numpy(numpy.asarray(picture).copy()).permute(2, 0, 1)[None] / 255


def picture(width: int, height: int, seed: int = 0, channels: int = 3) -> numpy.ndarray:
    """Something with edges, gradients and noise, (H, W, channels), 8 bits."""
    y, x = numpy.mgrid[:height, :width]
    planes = [127 + 80 * numpy.sin(x / (7 + 3 * c)) + 40 * ((y // (9 + c)) % 2) for c in range(channels)]
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
    return zoo.stylize(read_image(path), style, network=network, precision="float32", **options)


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


# --- the parts --------------------------------------------------------------------------------------------


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


# --- what it computes -------------------------------------------------------------------------------------


def test_saved_picture_is_the_packages(visit, tmp_path):
    """Odd sizes, as they are; then another style, half a mixture, less strength, the photo's colours; each saved."""
    page = visit()
    page.check("#as-is")
    data = png(picture(163, 121))
    choose(page, "given.png", data)
    assert "163 × 121 pixels" in painted(page)
    assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE
    for style in ("village_street", "cafe_terrace", "poppies"):  # faster than it paints: the last one counts
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
    page = visit()
    data = png(picture(333, 190, 1))
    set_range(page, "#size", 256)
    choose(page, "given.png", data)
    assert "256 × 146 pixels" in painted(page)
    assert largest(saved(page), package(data, tmp_path, "great_wave", size=256)) <= CLOSE
    page.check("#as-is")
    choose(page, "long.png", png(picture(1300, 40)))
    assert "1,024 × 32 pixels, shrunk from 1,300 × 40" in painted(page)


def profile() -> bytes:
    from PIL import ImageCms

    lab = ImageCms.createProfile("LAB")
    return ImageCms.ImageCmsProfile(lab).tobytes()


def with_gamma(data: bytes) -> bytes:
    """A PNG that asks for brightness correction, which a canvas would do and the package does not."""
    body = b"gAMA" + struct.pack(">I", 100_000)
    return data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


ALPHA = numpy.dstack([picture(48, 40), numpy.linspace(0, 255, 48 * 40).reshape(40, 48).astype(numpy.uint8)])
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
    page = visit()
    page.check("#as-is")
    for name, make in KINDS.items():
        data = make()
        choose(page, f"{name}.png", data)
        painted(page)
        assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE, name


def test_photo_of_a_phone_stands_upright(visit, tmp_path):
    page = visit()
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
    """300 pixels need two tiles of at most 256; the package computes the picture in one."""
    page = visit()
    data = png(picture(300, 24, 2))
    page.check("#as-is")
    choose(page, "small.png", data)
    painted(page)
    page.select_option("#enlarge-size", "")
    page.click("#enlarge")
    page.wait_for_selector("#zoom:not([hidden])")
    assert "from 300 × 24 pixels to 1,200 × 96 pixels" in page.inner_text("#enlarge-status")
    path = tmp_path / "small.png"
    path.write_bytes(data)
    for loss in ("pixel", "feature"):
        network = zoo.load_restorer("upscale", loss, device="cpu")
        wanted = restoration.upscale(read_image(path), network=network, precision="float32")
        assert largest(saved(page, f"[data-save={loss}]"), wanted) <= CLOSE, loss
    from pltutorial.images import resize

    assert largest(saved(page, "[data-save=bicubic]"), resize(read_image(path), (96, 1200))) <= CLOSE


def test_threads_where_the_server_allows(browser, folder, visit, tmp_path):
    isolated = Server(folder, ISOLATED)
    try:
        page = visit(isolated.address)
        assert page.evaluate("crossOriginIsolated")
        cores = page.evaluate("Math.min(4, navigator.hardwareConcurrency)")
        assert page.inner_text("#threads") == (
            f"here on {cores} threads" if cores > 1 else "here on one thread"
        )
        data = png(picture(120, 80))
        page.check("#as-is")
        choose(page, "given.png", data)
        painted(page)
        assert largest(saved(page), package(data, tmp_path, "great_wave")) <= CLOSE
    finally:
        isolated.stop()


# --- how it is used ---------------------------------------------------------------------------------------


def test_first_result_comes_with_little_and_the_rest_when_asked(browser, folder):
    served = Server(folder)
    try:
        context = browser.new_context(service_workers="block")
        page = context.new_page()
        page.goto(served.address)
        painted(page)
        names = {path.split("?")[0].lstrip("/") for path in served.asked}
        transfer = sum(
            len(gzip.compress((folder / name).read_bytes(), 6)) for name in names if (folder / name).is_file()
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
        "(e => e.id || e.name || e.getAttribute('role') || e.title || e.tagName)(document.activeElement)"
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
    handle = page.locator("[role=slider]")
    assert handle.get_attribute("aria-valuenow") == "50", "with reduced motion nothing moves by itself"
    for key, value in {"Home": 0, "ArrowRight": 2, "PageUp": 12, "End": 100, "ArrowLeft": 98}.items():
        page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == str(value)
        assert handle.get_attribute("aria-valuetext") == f"{value} % photo, {100 - value} % print"
    tab_to("save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "pagoda-great_wave.png"
    tab_to("file")
    tab_to("Chelsea the cat")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#credit').textContent.includes('Chelsea')")
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
    page.wait_for_function("() => document.querySelector('#zoom-value').value === '140 %'")
    tab_to("img")  # the first of the enlarged pictures
    page.keyboard.press("0")
    page.wait_for_function("() => document.querySelector('#zoom-value').value === '100 %'")


def test_divider_follows_the_pointer(visit):
    page = visit()
    box = page.locator("#compare").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    assert page.locator("[role=slider]").get_attribute("aria-valuenow") == "20"
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60)
    assert page.locator("[role=slider]").get_attribute("aria-valuenow") == "20"


FILES = """async type => {
  const canvas = new OffscreenCanvas(70, 50);
  canvas.getContext("2d").fillRect(0, 0, 40, 30);
  const transfer = new DataTransfer();
  transfer.items.add(new File([await canvas.convertToBlob()], "given.png", {type: "image/png"}));
  const data = type === "drop" ? {dataTransfer: transfer} : {clipboardData: transfer};
  const kind = type === "drop" ? DragEvent : ClipboardEvent;
  document.body.dispatchEvent(new kind(type, {bubbles: true, cancelable: true, ...data}));
}"""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(visit, way):
    page = visit()
    page.check("#as-is")
    painted(page)
    page.evaluate(FILES, way)
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('70 × 50')")
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
    page = visit(script=CAMERA)
    page.check("#as-is")
    painted(page)
    page.click("#camera")
    page.wait_for_function("() => document.querySelector('video').videoWidth === 320")
    page.click("dialog .shoot")
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('320 × 240')")
    painted(page)
    assert page.locator("dialog").is_hidden()
    assert page.evaluate("stream.getTracks().every(track => track.readyState === 'ended')"), (
        "the camera is off"
    )


def test_cancelling_ends_the_work_and_nothing_else(visit):
    page = visit()
    set_range(page, "#size", 1024)
    page.click("#cancel")
    page.wait_for_function("() => document.querySelector('#status').textContent.startsWith('Stopped')")
    assert page.locator("#problem").is_hidden()
    assert page.locator("#cancel").is_hidden()
    set_range(page, "#size", 256)
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('256 ×')")
    painted(page)


# --- how it looks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (390, "light"), (1280, "dark")])
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
        """() => [...document.querySelectorAll("button, select, .button, .thumb")].filter(e => e.offsetWidth)
          .map(e => [e.id || e.className, e.offsetWidth, e.offsetHeight]).filter(([, w, h]) => w < 44 || h < 40)"""
    )
    assert small == [], "large enough for a finger"
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    for _ in range(3):  # automatic, light, dark
        page.click("#theme")
        if page.evaluate("document.documentElement.dataset.theme") != scheme:
            break
    assert page.evaluate(background) != before
    stored = page.evaluate("[localStorage.getItem('mode'), localStorage.getItem('theme')]")
    assert stored[0] == stored[1] == page.evaluate("document.documentElement.dataset.theme")
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


# --- what goes wrong --------------------------------------------------------------------------------------


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(200, 150)).save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty.jpg": (lambda: b"", "empty file"),
    "notes.txt": (lambda: b"only words", "not a picture.*JPEG"),
    "IMG_1.HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), "HEIC.*JPEG"),
    "new.avif": (lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(400), "AVIF.*JPEG"),
    "huge.png": (lambda: header(12_000, 9_000), "108 megapixels.*Shrink"),
    "lying.png": (lambda: header(300, 200) + bytes(50), "damaged or cut short"),
    "half.png": (lambda: png(picture(200, 150))[:9000], "damaged or cut short"),
    "noise.jpg": (lambda: jpeg()[:20] + bytes(3000), "damaged or cut short"),
    "paper.pdf": (lambda: b"%PDF-1.7 ...", "PDF"),
    "clip.mp4": (lambda: b"\0\0\0\x18ftypisom" + bytes(100), "video.*pltutorial stylize"),
    "drawing.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing"),
    "line.png": (lambda: png(picture(500, 1)), "at least 2"),
    "strip.png": (lambda: png(picture(900, 8)), "at least 16"),
}


def test_bad_files_are_explained_and_lose_nothing(visit):
    page = visit()
    for name, (make, sentence) in BAD.items():
        choose(page, name, make())
        said = complaint(page)
        assert re.search(sentence, said, re.DOTALL), f"{name}: {said}"
        assert name in said
        assert page.locator("#compare").is_visible()
        page.click("#dismiss")
    page.check("input[value=village_street]", force=True)  # goes on with the photo that is shown
    assert "512 × 342" in painted(page)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("NotAllowedError", "refused.*Allow"),
        ("NotFoundError", "No camera"),
        ("NotReadableError", "another program"),
    ],
)
def test_camera_that_gives_nothing(visit, error, sentence):
    refuse = f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{error}'))"
    page = visit(script=refuse)
    page.click("#camera")
    said = complaint(page)
    assert re.search(sentence, said), said
    assert "choose a photo" in said


def test_clipboard_without_a_picture(visit):
    page = visit()
    page.evaluate(
        "document.body.dispatchEvent(new ClipboardEvent('paste', {bubbles: true, clipboardData: new DataTransfer()}))"
    )
    assert "no picture in the clipboard" in complaint(page)


@pytest.mark.parametrize("lacking", ["WebAssembly", "Worker", "OffscreenCanvas"])
def test_browser_that_lacks_something(visit, lacking):
    page = visit(script=f"delete window.{lacking}", done=False)
    said = complaint(page)
    assert re.search("another browser|Allow|too old", said), said


def test_page_opened_from_a_file(visit, folder):
    page = visit((folder / "live" / "index.html").as_uri(), done=False, expect="CORS|ERR_FAILED|origin")
    assert "pltutorial serve" in complaint(page)


@pytest.mark.parametrize("part", ["eight_styles.onnx", "threaded.wasm", "ort.wasm.min.mjs", "models.json"])
def test_part_that_does_not_come_is_tried_again(visit, folder, part):
    served = Server(folder)
    try:
        served.broken.add(part)
        page = visit(served.address, done=False, expect="503|Failed to load|import")
        said = complaint(page)
        assert "again" in said
        served.broken.clear()
        page.click("#retry")
        painted(page)
    finally:
        served.stop()


def test_network_that_fails_in_the_worker_is_said(visit, server):
    """A model that is none: the runtime's error becomes a sentence, and the page goes on."""
    page = visit("about:blank", done=False, expect="onnx|protobuf|ERROR")
    model = "**/eight_styles.onnx"
    page.route(model, lambda route: route.fulfill(body=b"no network"))
    page.goto(server.address)
    assert "Try again" in complaint(page)
    page.unroute(model)
    page.click("#retry")
    painted(page)


FULL = """
export const env = {wasm: {}};
export class Tensor {}
export const InferenceSession = {create() { throw new RangeError("Array buffer allocation failed"); }};
"""


def test_memory_that_runs_out_is_said_and_less_is_offered(visit, server):
    page = visit("about:blank", done=False)
    runtime = "**/ort.wasm.min.mjs"
    page.route(runtime, lambda route: route.fulfill(body=FULL, content_type="text/javascript"))
    page.goto(server.address)
    assert "ran out of memory" in complaint(page)
    page.unroute(runtime)
    page.click("#smaller")
    assert "256 × 171" in painted(page)


# --- without a network ------------------------------------------------------------------------------------


KEPT = "() => document.querySelector('#offline').textContent.startsWith('It is kept')"


def test_works_with_the_server_stopped(visit, folder):
    served = Server(folder)
    try:
        page = visit(served.address, service_workers="allow")
        page.wait_for_function(KEPT)
    finally:
        served.stop()
    again = page.context.new_page()
    again.goto(served.address)
    assert "Painted" in painted(again)
    assert again.evaluate("crossOriginIsolated"), "the page's own worker lets it use threads"
    again.click("#enlarge")
    again.wait_for_selector("#zoom:not([hidden])")
    assert again.evaluate("fetch('https://example.org/').then(() => 'left', () => 'stayed')") == "stayed"


def publish(live: Path, text: str) -> None:
    page = live / "index.html"
    page.write_text(re.sub("<h1>.*?</h1>", f"<h1>{text}</h1>", page.read_text()))
    (live / "version.json").write_text(json.dumps(web.manifest(live)))


def test_new_version_comes_whole_or_not_at_all(visit, folder, tmp_path):
    import shutil

    shutil.copytree(folder / "live", tmp_path / "live")
    served = Server(tmp_path)
    try:
        page = visit(served.address, service_workers="allow", expect="503|Failed")
        page.wait_for_function(KEPT)
        publish(tmp_path / "live", "Second version")
        served.broken.add("upscale_x4_pixel.onnx")  # the network is lost half way
        page.reload()
        page.wait_for_function("() => document.querySelector('#offline').textContent !== ''")
        page.wait_for_timeout(500)
        page.reload()
        assert page.inner_text("h1") != "Second version"
        painted(page)
        served.broken.clear()
        page.reload()
        page.wait_for_selector("#update:not([hidden])")
        assert page.inner_text("h1") != "Second version", "the old version stays until it is left"
        with page.expect_navigation():
            page.click("#use-update")
        page.wait_for_function("() => document.querySelector('h1').textContent === 'Second version'")
        painted(page)
        page.wait_for_function("() => caches.keys().then(names => names.length === 1)")
    finally:
        served.stop()


def test_storage_that_is_full_is_said(visit, folder):
    served = Server(folder)
    try:
        page = visit("about:blank", service_workers="allow", done=False, expect="Quota|quota")
        quota = {"origin": served.origin.rstrip("/"), "quotaSize": 5_000_000}
        page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
        page.goto(served.address)
        painted(page)
        page.wait_for_function(
            "() => document.querySelector('#offline').textContent.includes('not enough room')"
        )
        page.wait_for_function("() => caches.keys().then(names => names.length === 0)")
    finally:
        served.stop()


def test_policy_lets_nothing_out(visit):
    page = visit(expect="Content Security Policy")
    for attempt in ("fetch('https://example.org/')", "fetch('http://127.0.0.1:9/')"):
        assert page.evaluate(f"{attempt}.then(() => 'left', () => 'stayed')") == "stayed"
    assert "connect-src 'self'" in page.locator("meta[http-equiv]").first.get_attribute("content")
