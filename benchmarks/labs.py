"""What a lab of the site costs: compressed megabytes and seconds until it first
answers, and seconds of each answer after that.

`python -m benchmarks.labs [FOLDER [LAB ...]]`, after `make site`, writes
benchmarks/labs.json and checks the bounds that the project promises; where labs are
named, what the record holds of the others stays. WebAssembly on one thread, in
Chromium; the site is served compressed. Beside the seconds on the clock stand those
that the browser had a processor (Linux only): where other programs run at the same
time, these say what an idle machine would need, and the bounds are theirs.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.lighthouse.__main__ import CHROME, HTML, ROOT, Counter, executable

RECORD = ROOT / "benchmarks" / "labs.json"
BOUNDS = {
    "thesis, network, MB": 0.6,
    "thesis, an update at 160 pixels, processor s": 0.15,
    "gatys, network, MB": 3.6,
    "gatys, a step at 128 pixels, processor s": 0.6,
    "gram, first answer, MB": 4.6,
    "gram, an update at 160 pixels, processor s": 0.4,
    "repair, first answer, MB": 5.6,
    "repair, holes at 256 pixels, processor s": 1.2,
    "knows, first answer, MB": 8.2,
    "knows, a round at 192 pixels, processor s": 1.0,
    "restyle, first answer, MB": 8.6,
    "restyle, a share at 256 pixels, processor s": 1.0,
    "eye, first answers, MB": 4.6,
    "eye, eight answers, processor s": 4.0,
}
COMPLETE = "() => document.documentElement.dataset.complete === 'yes'"
UPDATES = 24


def processor_seconds() -> float:
    """What this program's children, the browser's processes, have computed so far."""
    tick, parents, used = os.sysconf("SC_CLK_TCK"), {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parents[number], used[number] = int(fields[1]), int(fields[11])
    ours, found = {os.getpid()}, True
    while found:
        found = {one for one, of in parents.items() if of in ours} - ours
        ours |= found
    return sum(used.get(one, 0) for one in ours - {os.getpid()}) / tick


def opened(browser, site: Counter, page: str):
    """A new visitor on a page; the page and the bytes that were sent before."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        service_workers="block",
        reduced_motion="reduce",  # a needle on its way is drawn many times
    )
    context.set_default_timeout(120_000)
    tab, before = context.new_page(), site.bytes
    tab.goto(f"{site.address}{page}", wait_until="load")
    return tab, before


def answered(page, move, mark: str) -> None:
    """Move something, and wait until the page marks its answer."""
    place = f"document.documentElement.dataset.{mark}"
    page.evaluate(f"() => {{ {place} = ''; }}")
    move()
    page.wait_for_function(f"() => {place}")


def updates(page, move, mark: str) -> dict[str, float]:
    """Seconds of an answer, over the later half of so many: by then the browser has
    compiled what is hot.
    """
    seconds = []
    for count in range(UPDATES):
        if count == UPDATES // 2:
            computed = processor_seconds()
        answered(page, move, mark)
        took = page.evaluate("document.documentElement.dataset.update")
        seconds.append(float(took) / 1000)
    late = seconds[UPDATES // 2 :]
    return {
        "s": statistics.median(late),
        "processor s": (processor_seconds() - computed) / len(late),
        "quickest, s": min(late),
    }


def thesis(browser, site: Counter) -> dict[str, float]:
    """A slider moved, until the network's answer is there."""
    page, before = opened(browser, site, "live/thesis.html?in=book&side=160")
    page.wait_for_function(
        "() => document.querySelector('#judges td')?.innerText > '0'"
    )
    light, start = site.bytes, time.perf_counter()
    page.focus("#noise")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(COMPLETE)
    first, sent = time.perf_counter() - start, site.bytes
    late = updates(page, lambda: page.keyboard.press("ArrowRight"), "update")
    page.context.close()
    return {
        "thesis, page before it is touched, MB": (light - before) / 1e6,
        "thesis, first answer, MB": (sent - before) / 1e6,
        "thesis, first answer, s": first,
        **{f"thesis, an update at 160 pixels, {name}": late[name] for name in late},
    }


def gatys(browser, site: Counter) -> dict[str, float]:
    """Forty steps from a square photo, at 128 pixels."""
    page, before = opened(browser, site, "live/gatys.html?in=book")
    page.wait_for_function("() => !document.querySelector('#go').disabled")
    page.locator("#photo-file").set_input_files(
        ROOT / "data" / "content" / "astronaut.jpg"
    )
    page.wait_for_function(
        "() => document.querySelector('#result').height === 128"
        " && document.querySelector('#result').width === 128"
    )
    light, start = site.bytes, time.perf_counter()
    page.click("#go")
    seconds, step = [], 0
    while step < 40:
        page.wait_for_function(
            "step => Number(document.documentElement.dataset.step) > step", arg=step
        )
        root = "document.documentElement.dataset"
        step = int(page.evaluate(f"{root}.step"))
        seconds.append(float(page.evaluate(f"{root}.seconds")))
        if len(seconds) == 1:
            first, sent = time.perf_counter() - start, site.bytes
        if step <= 10:
            early, computed = step, processor_seconds()
    computed = (processor_seconds() - computed) / (step - early)
    whole = time.perf_counter() - start
    page.context.close()
    return {
        "gatys, page before it is started, MB": (light - before) / 1e6,
        "gatys, first step, MB": (sent - before) / 1e6,
        "gatys, first step, s": first,
        "gatys, a step at 128 pixels, s": statistics.median(seconds[5:]),
        "gatys, a step at 128 pixels, processor s": computed,
        "gatys, a step at 128 pixels, quickest, s": min(seconds[5:]),
        "gatys, 40 steps from the click, s": whole,
    }


def gram(browser, site: Counter) -> dict[str, float]:
    """The tiles shuffled again and again, until matrix and features are there."""
    page, before = opened(browser, site, "live/gram.html?in=book")
    page.wait_for_function("() => document.querySelector('#words').innerText")
    light, start = site.bytes, time.perf_counter()
    answered(page, lambda: page.click("#shuffle"), "settled")
    first, sent = time.perf_counter() - start, site.bytes
    late = updates(page, lambda: page.click("#shuffle"), "settled")
    page.context.close()
    return {
        "gram, page before it is touched, MB": (light - before) / 1e6,
        "gram, first answer, MB": (sent - before) / 1e6,
        "gram, first answer, s": first,
        **{f"gram, an update at 160 pixels, {name}": late[name] for name in late},
    }


def repair(browser, site: Counter) -> dict[str, float]:
    """Scratches added one by one, each filled by both networks and judged in pixels and
    in features; then noise of one strength after the other.
    """
    page, before = opened(browser, site, "live/repair.html?in=book")
    page.wait_for_function("() => document.querySelector('#words').innerText")
    light, start = site.bytes, time.perf_counter()
    answered(page, lambda: page.click("#more"), "settled")
    first, sent = time.perf_counter() - start, site.bytes
    late = updates(page, lambda: page.click("#more"), "settled")
    answered(page, lambda: page.check("#task-noise"), "settled")
    page.focus("#sigma")
    clean = updates(page, lambda: page.keyboard.press("ArrowRight"), "settled")
    page.context.close()
    return {
        "repair, page before it is touched, MB": (light - before) / 1e6,
        "repair, first answer, MB": (sent - before) / 1e6,
        "repair, first answer, s": first,
        **{f"repair, holes at 256 pixels, {name}": late[name] for name in late},
        **{f"repair, noise at 256 pixels, {name}": clean[name] for name in clean},
    }


def knows(browser, site: Counter) -> dict[str, float]:
    """A photo to relu3_3 and back, then what was drawn again and again."""
    page, before = opened(browser, site, "live/knows.html?in=book&side=192")
    page.wait_for_function("() => !document.querySelector('#go').disabled")
    light, start = site.bytes, time.perf_counter()
    answered(page, lambda: page.click("#go"), "settled")
    first, sent = time.perf_counter() - start, site.bytes
    late = updates(page, lambda: page.click("#go"), "settled")
    page.context.close()
    return {
        "knows, page before it is touched, MB": (light - before) / 1e6,
        "knows, first answer, MB": (sent - before) / 1e6,
        "knows, first answer, s": first,
        **{f"knows, a round at 192 pixels, {name}": late[name] for name in late},
    }


def restyle(browser, site: Counter) -> dict[str, float]:
    """A photo in the style of a painting at relu3_3, then with more and less of it."""
    page, before = opened(browser, site, "live/restyle.html?in=book&side=256")
    page.wait_for_function("() => !document.querySelector('#go').disabled")
    light, start = site.bytes, time.perf_counter()
    answered(page, lambda: page.click("#go"), "settled")
    first, sent = time.perf_counter() - start, site.bytes
    page.focus("#share")
    keys = itertools.cycle(["ArrowLeft", "ArrowRight"])
    late = updates(page, lambda: page.keyboard.press(next(keys)), "settled")
    start = time.perf_counter()
    answered(page, lambda: page.select_option("#layers", "two"), "settled")
    deeper, whole = time.perf_counter() - start, site.bytes - sent
    page.context.close()
    return {
        "restyle, page before it is touched, MB": (light - before) / 1e6,
        "restyle, first answer, MB": (sent - before) / 1e6,
        "restyle, first answer, s": first,
        **{f"restyle, a share at 256 pixels, {name}": late[name] for name in late},
        "restyle, the deeper layer, MB": whole / 1e6,
        "restyle, the deeper layer, s": deeper,
    }


def eye(browser, site: Counter) -> dict[str, float]:
    """The copies made; then all of them judged by SSIM and by the network, which the
    first click begins.
    """
    time.sleep(2)  # the page before has ended by then, and its processes with it
    start, computed = time.perf_counter(), processor_seconds()
    page, before = opened(browser, site, "live/eye.html?in=book")
    copies = page.locator("#copies button")
    copies.nth(7).wait_for()
    made, light = time.perf_counter() - start, site.bytes
    values = {
        "eye, page before it is touched, MB": (light - before) / 1e6,
        "eye, eight copies on the page, s": made,
        "eye, eight copies on the page, processor s": processor_seconds() - computed,
    }
    start, computed = time.perf_counter(), processor_seconds()
    copies.nth(0).click()
    page.wait_for_function("() => document.documentElement.dataset.judged")
    values |= {
        "eye, first answers, MB": (site.bytes - before) / 1e6,
        "eye, first answers, s": time.perf_counter() - start,
        "eye, eight answers, processor s": processor_seconds() - computed,
    }
    page.context.close()
    return values


LABS = (thesis, gatys, gram, repair, knows, restyle, eye)


def main() -> int:
    from benchmarks import labs_faces

    labs = (*LABS, labs_faces.faces, labs_faces.diffusion)
    bounds = BOUNDS | labs_faces.BOUNDS
    facts = json.loads((HTML / "live" / "models" / "labs.json").read_text())
    site = Counter()
    wanted = sys.argv[2:]
    values = json.loads(RECORD.read_text())["values"] if wanted else {}
    values |= {
        "thesis, network, MB": facts["features"]["bytes"] / 1e6,
        "gatys, network, MB": facts["gatys"]["bytes"] / 1e6,
        "faces, network, MB": facts["faces"]["bytes"] / 1e6,
        "diffusion, network, MB": facts["flow"]["bytes"] / 1e6,
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=CHROME[1:]
        )
        for lab in labs:
            if not wanted or lab.__name__ in wanted:
                values |= lab(browser, site)
        browser.close()
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load at the end": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    record = {
        "what": "labs of the site: python -m benchmarks.labs, after make site",
        "day": time.strftime("%Y-%m-%d"),
        "machine": machine,
        "bounds": bounds,
        "values": values,
    }
    text = json.dumps(record)
    rounded = json.loads(text, parse_float=lambda number: round(float(number), 3))
    RECORD.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    for name, value in values.items():
        over = " (over the bound)" if value > bounds.get(name, float("inf")) else ""
        print(f"{name}: {value:.3f}{over}")
    return int(any(values.get(name, 0) > bound for name, bound in bounds.items()))


if __name__ == "__main__":
    sys.exit(main())
