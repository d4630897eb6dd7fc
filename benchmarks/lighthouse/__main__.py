"""What a page of the site costs: Lighthouse's desktop preset, compressed bytes,
seconds of live painting.

`python -m benchmarks.lighthouse [FOLDER]`, after `make site`, writes
benchmarks/lighthouse.json and checks the bounds that the project promises; the seconds
count on an idle machine only. The site is served as GitHub Pages does: compressed,
without the headers that threads would need.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

from pltutorial import bundled
from pltutorial.cli.listen import HEADERS
from pltutorial.cli.serve import handler

ROOT = Path(__file__).resolve().parent.parent.parent
RECORD = ROOT / "benchmarks" / "lighthouse.json"
HTML = (
    Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build" / "site" / "_build" / "html"
)
FRONT, LIVE = "book/index", "live/index"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
CHROME = ["--headless=new", "--no-sandbox", "--disable-gpu"]
# Most, or least where it says so.
BOUNDS = {
    "first contentful paint, s": 1.5,
    "transfer, MB": 2.5,
    "transfer before the first print, MB": 8.0,
    "live, 256 px, one thread, s": 0.25,
    "accessibility": ">=95",
    "best-practices": ">=95",
}
STYLES = (
    "starry_night",
    "poppies",
    "cafe_terrace",
    "composition_viii",
    "village_street",
    "great_wave",
)


class Counter:
    """The site on this machine, and how many bytes its answers took."""

    def __init__(self) -> None:
        self.bytes = 0
        counter = self

        class Counting(handler(HTML)):
            def send_header(self, keyword, value):
                if keyword not in HEADERS or keyword == "Cache-Control":
                    super().send_header(keyword, value)

            def setup(self):
                super().setup()
                write = self.wfile.write

                def counted(data):
                    counter.bytes += len(data)
                    return write(data)

                self.wfile.write = counted

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/"


def executable() -> str:
    sys.path.insert(0, str(ROOT / "tests"))
    from browsing import NO_BROWSER, executable

    return executable() or sys.exit(f"error: {NO_BROWSER}")


def transfer(browser, site: Counter, page: str) -> float:
    """Compressed megabytes of a page for a new visitor who scrolls to its end."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, service_workers="block"
    )
    opened, before = context.new_page(), site.bytes
    opened.goto(f"{site.address}{page}.html", wait_until="load")
    opened.evaluate(
        """async () => {
          for (let y = 0; y < document.body.scrollHeight; y += 600) {
            scrollTo(0, y);
            await new Promise((resolve) => setTimeout(resolve, 30));
          }
        }"""
    )
    opened.wait_for_load_state("networkidle")
    context.close()
    return (site.bytes - before) / 1e6


def live(browser, site: Counter) -> dict[str, float]:
    """Megabytes until a new visitor sees her first print, and seconds of painting 256 x
    256 pixels on one thread.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, before = context.new_page(), site.bytes
    page.goto(f"{site.address}{LIVE}.html", wait_until="load")
    page.locator("#styles img").nth(7).wait_for()
    page.locator("#size").fill("256")
    page.locator("#file").set_input_files(bundled("content/astronaut"))
    seconds = [_painted(page, None)]
    first = (site.bytes - before) / 1e6
    for style in STYLES * 3:
        seconds.append(_painted(page, style))
    assert page.evaluate("crossOriginIsolated") is False, "one thread"
    context.close()
    return {
        "transfer before the first print, MB": first,
        "live, 256 px, one thread, s": statistics.median(seconds[1:]),
        "live, 256 px, one thread, quickest, s": min(seconds),
        "live, 256 px, first time, s": seconds[0],
    }


def _painted(page, style: str | None) -> float:
    """The seconds that the page says a print took."""
    status = page.locator("#status")
    if style:
        page.evaluate("() => { document.querySelector('#status').textContent = ''; }")
        page.locator(f"#styles input[value={style}]").check(force=True)
    page.wait_for_function(
        "() => /^Painted in .*256 × "
        "256/.test(document.querySelector('#status').textContent)"
    )
    number, unit = re.search(r"Painted in ([\d.]+) (\w+)", status.inner_text()).groups()
    return float(number) * (1e-3 if unit == "ms" else 1)


def lighthouse(site: Counter, page: str, chromium: str) -> dict[str, float]:
    """Scores, first contentful paint and transfer as Lighthouse's desktop
    preset sees one page.
    """
    import web

    modules = web.install_packages(Path(__file__).parent, ROOT / "build" / "lighthouse")
    node, _ = web.node_and_npm()
    command = [
        *node,
        str(modules / "lighthouse" / "cli" / "index.js"),
        f"{site.address}{page}.html",
    ]
    command += [
        "--preset=desktop",
        "--output=json",
        "--quiet",
        f"--only-categories={','.join(CATEGORIES)}",
    ]
    command += ["--no-enable-error-reporting", f"--chrome-flags={' '.join(CHROME)}"]
    environment = {**os.environ, "CHROME_PATH": chromium}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300
    )
    if run.returncode:
        sys.exit(
            f"error: Lighthouse failed on {page}: {run.stderr.strip().splitlines()[-1]}"
        )
    report = json.loads(run.stdout)
    facts = {
        name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES
    }
    audits = report["audits"]
    facts["first contentful paint, s"] = (
        audits["first-contentful-paint"]["numericValue"] / 1000
    )
    facts["largest contentful paint, s"] = (
        audits["largest-contentful-paint"]["numericValue"] / 1000
    )
    for name in ("accessibility", "best-practices"):
        for audit in report["categories"][name]["auditRefs"]:
            if audit["weight"] and audits[audit["id"]]["score"] == 0:
                print(f"  {page}: {name}: {audits[audit['id']]['title']}")
    return facts


def broken(facts: dict[str, dict[str, float]]) -> list[str]:
    """The bounds that do not hold."""
    found = []
    for page, values in facts.items():
        for name, value in values.items():
            bound = BOUNDS.get(name)
            if bound is None or (name == "transfer, MB" and page == LIVE):
                continue
            holds = (
                value >= float(bound[2:]) if isinstance(bound, str) else value <= bound
            )
            if not holds:
                found.append(f"{page}: {name} is {value:.4g}, the bound {bound}")
    return found


def main() -> int:
    if not (HTML / LIVE).with_suffix(".html").exists():
        sys.exit(
            "error: there is no site with a live page below build/site; "
            "run `make site` first"
        )
    sys.path.insert(0, str(ROOT / "book"))
    chromium, site = executable(), Counter()
    chapters = sorted(
        f"notebooks/{path.stem}" for path in (HTML / "notebooks").glob("*.html")
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROME[1:])
        facts = {
            page: {"transfer, MB": transfer(browser, site, page)}
            for page in [FRONT, *chapters]
        }
        facts[LIVE] = live(browser, site)
        browser.close()
    sizes = {page: facts[page]["transfer, MB"] for page in chapters}
    for page in (FRONT, min(sizes, key=sizes.get), max(sizes, key=sizes.get), LIVE):
        facts[page] |= lighthouse(site, page, chromium)
    for page, values in facts.items():
        print(
            page,
            ", ".join(f"{name} {value:.4g}" for name, value in values.items()),
            sep=": ",
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load at the end": load,
    }
    record = {
        "day": time.strftime("%Y-%m-%d"),
        "machine": machine,
        "bounds": BOUNDS,
        "pages": facts,
    }
    rounded = json.loads(
        json.dumps(record), parse_float=lambda text: round(float(text), 4)
    )
    RECORD.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    for line in (failures := broken(facts)):
        print(f"bound broken: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
