"""The live page in Chromium when something goes wrong: it says what happened and what
to do, and works without a network.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from live import (
    KEPT,
    Server,
    browser,
    choose,
    complaint,
    folder,
    painted,
    picture,
    png,
    server,
    visit,
    web,
)
from PIL import Image

__all__ = ["browser", "folder", "server", "visit"]  # fixtures


# --- what goes wrong ------------------------------------------------------------------


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
    )


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(200, 150)).save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty.jpg": (lambda: b"", "empty file"),
    "notes.txt": (lambda: b"only words", "not a picture.*JPEG"),
    "IMG_1.HEIC": (
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400),
        "HEIC.*JPEG",
    ),
    "new.avif": (
        lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(400),
        "AVIF.*JPEG",
    ),
    "huge.png": (lambda: header(12_000, 9_000), "108 megapixels.*Shrink"),
    "lying.png": (lambda: header(300, 200) + bytes(50), "damaged or cut short"),
    "half.png": (lambda: png(picture(200, 150))[:9000], "damaged or cut short"),
    "noise.jpg": (lambda: jpeg()[:20] + bytes(3000), "damaged or cut short"),
    "paper.pdf": (lambda: b"%PDF-1.7 ...", "PDF"),
    "clip.mp4": (
        lambda: b"\0\0\0\x18ftypisom" + bytes(100),
        "video.*pltutorial stylize",
    ),
    "drawing.svg": (
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "SVG drawing",
    ),
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
    # goes on with the photo that is shown
    page.check("input[value=village_street]", force=True)
    assert "512 × 342" in painted(page)


CAMERAS = {
    "NotAllowedError": "refused.*Allow",
    "NotFoundError": "No camera",
    "NotReadableError": "another program",
}


def test_camera_that_gives_nothing(visit):
    page = visit(example=False)
    for error, sentence in CAMERAS.items():
        refuse = (
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new "
            f"DOMException('', '{error}'))"
        )
        page.evaluate(refuse + "; null")
        page.click("#camera")
        said = complaint(page)
        assert re.search(sentence, said), said
        assert "choose a photo" in said
        page.click("#dismiss")
    page.evaluate(
        "delete MediaDevices.prototype.getUserMedia; delete "
        "navigator.mediaDevices.getUserMedia"
    )
    page.click("#camera")
    assert "https" in complaint(page)


def test_clipboard_without_a_picture(visit):
    page = visit(example=False)
    page.evaluate(
        "document.body.dispatchEvent(new ClipboardEvent('paste', {bubbles: true, "
        "clipboardData: new DataTransfer()}))"
    )
    assert "no picture in the clipboard" in complaint(page)


@pytest.mark.parametrize("lacking", ["WebAssembly", "Worker", "OffscreenCanvas"])
def test_browser_that_lacks_something(visit, lacking):
    page = visit(script=f"delete window.{lacking}", done=False)
    said = complaint(page)
    assert re.search("another browser|Allow|too old", said), said


def test_page_opened_from_a_file(visit, folder):
    page = visit(
        (folder / "live" / "index.html").as_uri(),
        done=False,
        expect="CORS|ERR_FAILED|origin",
    )
    assert "pltutorial serve" in complaint(page)


@pytest.mark.parametrize(
    "part", ["eight_styles.onnx", "threaded.wasm", "ort.wasm.min.mjs", "models.json"]
)
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
    """A model that is none: the runtime's error becomes a sentence,
    and the page goes on.
    """
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
export const InferenceSession = {create() {
  throw new RangeError("Array buffer allocation failed");
}};
"""


def test_memory_that_runs_out_is_said_and_less_is_offered(visit, server):
    page = visit("about:blank", done=False)
    runtime = "**/ort.wasm.min.mjs"
    page.route(
        runtime, lambda route: route.fulfill(body=FULL, content_type="text/javascript")
    )
    page.goto(server.address)
    assert "ran out of memory" in complaint(page)
    page.unroute(runtime)
    page.click("#smaller")
    assert "256 × 171" in painted(page)


# --- without a network ----------------------------------------------------------------


NETWORKS = (("vgg", ""), ("invert", "_image"))
SETTLED = "() => document.documentElement.dataset.settled === 'yes'"


def test_works_with_the_server_stopped(visit, folder):
    """The page itself, and of the larger networks of the labs those that were used."""
    served = Server(folder)
    lab = f"{served.origin}live/knows.html?side=64"
    larger = [f"/live/models/{name}_relu3_3{of}.onnx" for name, of in NETWORKS]
    try:
        page = visit(served.address, service_workers="allow", example=False)
        page.wait_for_function(KEPT)
        assert not {*larger} & {*served.asked}, "not every reader needs them"
        page.goto(f"{lab}#layer=relu3_3&by=image")
        page.click("#go")  # who saves data is asked first
        page.wait_for_function(SETTLED)
        for path in larger:
            page.wait_for_function(f"() => caches.match('{path}')")
    finally:
        served.stop()
    again = page.context.new_page()
    again.goto(f"{lab}#layer=relu3_3&by=image")
    again.wait_for_function(SETTLED)
    assert again.evaluate("document.documentElement.dataset.round") == "1"
    again.goto(served.address)
    assert "Painted" in painted(again)
    assert again.evaluate("crossOriginIsolated"), (
        "the page's own worker lets it use threads"
    )
    again.click("#enlarge")
    again.wait_for_selector("#zoom:not([hidden])")
    assert (
        again.evaluate(
            "fetch('https://example.org/').then(() => 'left', () => 'stayed')"
        )
        == "stayed"
    )


def publish(live: Path, text: str) -> None:
    page = live / "index.html"
    page.write_text(re.sub("<h1>.*?</h1>", f"<h1>{text}</h1>", page.read_text()))
    (live / "version.json").write_text(json.dumps(web.manifest(live)))


def test_new_version_comes_whole_or_not_at_all(visit, folder, tmp_path):
    shutil.copytree(folder / "live", tmp_path / "live")
    served = Server(tmp_path)
    try:
        page = visit(
            served.address, service_workers="allow", expect="503|Failed", example=False
        )
        page.wait_for_function(KEPT)
        publish(tmp_path / "live", "Second version")
        served.broken.add("upscale_x4_pixel.onnx")  # the network is lost half way
        page.reload()
        page.wait_for_function(
            "() => document.querySelector('#offline').textContent !== ''"
        )
        page.reload()
        assert page.inner_text("h1") != "Second version"
        served.broken.clear()
        page.reload()
        page.wait_for_selector("#update:not([hidden])")
        assert page.inner_text("h1") != "Second version", (
            "the old version stays until it is left"
        )
        with page.expect_navigation():
            page.click("#use-update")
        page.wait_for_function(
            "() => document.querySelector('h1').textContent === 'Second version'"
        )
        page.wait_for_function("() => caches.keys().then(names => names.length === 1)")
    finally:
        served.stop()


def test_storage_that_is_full_is_said(visit, folder):
    served = Server(folder)
    try:
        page = visit(
            "about:blank", service_workers="allow", done=False, expect="Quota|quota"
        )
        quota = {"origin": served.origin.rstrip("/"), "quotaSize": 5_000_000}
        page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
        page.goto(served.address)
        painted(page)
        page.wait_for_function(
            "() => document.querySelector('#offline').textContent.includes('not "
            "enough room')"
        )
        page.wait_for_function("() => caches.keys().then(names => names.length === 0)")
    finally:
        served.stop()


def test_policy_lets_nothing_out(visit):
    page = visit(expect="Content Security Policy", example=False)
    for attempt in ("fetch('https://example.org/')", "fetch('http://127.0.0.1:9/')"):
        assert (
            page.evaluate(f"{attempt}.then(() => 'left', () => 'stayed')") == "stayed"
        )
    assert "connect-src 'self'" in page.locator("meta[http-equiv]").first.get_attribute(
        "content"
    )
