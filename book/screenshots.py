"""Look at the built site with Chromium: `make site`, then `python
book/screenshots.py [pdf]`.

Without an argument: the README's two pictures, the front page on a desktop and
the live page on a phone with its example stylised, as small WebP. With `pdf`: the
book as build/pdf/pltutorial.pdf and every page as build/pdf/NAME.pdf, answers
open and sliders as grids.
"""

from __future__ import annotations

import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import io
import shutil
import sys
import threading
from pathlib import Path

from chapters import pages
from PIL import Image
from web import BuildError

from pltutorial.cli.serve import start

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site" / "_build" / "html"
FOLDER = ROOT / "book" / "images" / "screenshots"
LARGEST = 60_000  # bytes
# page, width, height, colours, pixels in the file a pixel of the page, what must be
# true before the picture is taken
SHOTS = {
    "front_desktop": (
        "book/index.html",
        1280,
        800,
        "light",
        1,
        "() => document.readyState === 'complete'",
    ),
    "live_phone": (
        "live/index.html",
        390,
        844,
        "dark",
        1.5,
        (
            "() => !document.querySelector('#compare').hidden && "
            "!document.querySelector('#save').disabled"
        ),
    ),
}


def take(browser, address: str, name: str) -> Path:
    """One screenshot, as large as its limit of bytes allows."""
    page_name, width, height, scheme, scale, ready = SHOTS[name]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=scale,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address + page_name, wait_until="load")
    page.wait_for_function(ready, timeout=120_000)
    page.wait_for_timeout(1000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.webp"
    for quality in (85, 75, 65, 55, 45, 35, 30):
        picture.save(path, quality=quality, method=6)
        if path.stat().st_size < LARGEST:
            break
    return path


def bind(printed: dict[Path, str], target: Path) -> Path:
    """All pages in one file; each page's title is a bookmark above
    those of its sections.
    """
    from pypdf import PdfWriter

    with PdfWriter() as book:
        for path, title in printed.items():
            book.append(path, outline_item=title)
        book.add_metadata({"/Title": "pltutorial: perceptual losses for images"})
        book.compress_identical_objects()
        book.write(target)
    return target


def print_page(browser, address: str, name: str) -> tuple[Path, str]:
    """One page on A4; its file and its title."""
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{address}{name}.html", wait_until="load")
    page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
    page.emulate_media(media="print")
    path = ROOT / "build" / "pdf" / f"{Path(name).name}.pdf"
    path.parent.mkdir(parents=True, exist_ok=True)
    margin = dict.fromkeys(("top", "bottom", "left", "right"), "16mm")
    page.pdf(
        path=path,
        format="A4",
        print_background=True,
        margin=margin,
        outline=True,
        tagged=True,
    )
    title = page.locator("article h1").first.inner_text().replace("#", "") or name
    page.close()
    return path, title.strip()


def main() -> int:
    """Take the pictures, or print the pages."""
    from playwright.sync_api import sync_playwright

    chromium = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
        ),
        None,
    )
    try:
        if not (SITE / "live" / "index.html").exists():
            raise BuildError("the site is not built; call `make site` first")
        if chromium is None:
            raise BuildError(
                "there is no Chromium; get it with `apt-get install chromium`"
            )
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with start(SITE, port=0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        address = f"http://127.0.0.1:{server.server_port}/"
        if sys.argv[1:] == ["pdf"]:
            printed = dict(print_page(browser, address, name) for name in pages())
            paths = [*printed, bind(printed, ROOT / "build" / "pdf" / "pltutorial.pdf")]
        else:
            paths = [take(browser, address, name) for name in SHOTS]
        browser.close()
        server.shutdown()
    for path in paths:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
