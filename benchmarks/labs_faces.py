"""What the labs of chapters 9 and 11 cost; `python -m benchmarks.labs` calls it."""

from __future__ import annotations

import time

from benchmarks import labs
from benchmarks.lighthouse.__main__ import Counter

BOUNDS = {
    "faces, network, MB": 0.5,
    "faces, a move of the point, processor s": 0.15,
    "diffusion, network, MB": 1.3,
    "diffusion, 16 faces in 25 steps, processor s": 10.0,
}
DATA = "document.documentElement.dataset"


def faces(browser, site: Counter) -> dict[str, float]:
    """The point moved by key, until three networks have answered; then 64 faces."""
    page, before = labs.opened(browser, site, "live/faces.html?in=book")
    page.wait_for_function(f"() => {DATA}.begun")
    light, start = site.bytes, time.perf_counter()
    page.focus("#pad")
    keys = iter(["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"] * labs.UPDATES)

    def move():
        page.keyboard.press(next(keys))

    labs.answered(page, move, "settled")
    first, sent = time.perf_counter() - start, site.bytes
    late = labs.updates(page, move, "settled")
    labs.answered(page, lambda: page.click("#draw"), "drawn")
    labs.answered(page, lambda: page.click("#draw"), "drawn")
    sheet = float(page.evaluate(f"{DATA}.seconds"))
    page.context.close()
    return {
        "faces, page before it is touched, MB": (light - before) / 1e6,
        "faces, first answer, MB": (sent - before) / 1e6,
        "faces, first answer, s": first,
        **{f"faces, a move of the point, {name}": late[name] for name in late},
        "faces, 64 faces by three networks, s": sheet,
    }


def diffusion(browser, site: Counter) -> dict[str, float]:
    """One step first, which fetches everything; then sixteen faces in 25."""
    page, before = labs.opened(browser, site, "live/diffusion.html?in=book")
    page.wait_for_function("() => !document.querySelector('#go').disabled")
    light, start = site.bytes, time.perf_counter()
    complete = f"() => {DATA}.complete === 'yes'"
    page.select_option("#steps", "1")
    page.click("#go")
    page.wait_for_function(complete)
    first, sent = time.perf_counter() - start, site.bytes
    page.select_option("#steps", "25")
    start, computed = time.perf_counter(), labs.processor_seconds()
    page.click("#go")
    page.wait_for_function(complete)
    computed = labs.processor_seconds() - computed
    whole = time.perf_counter() - start
    page.context.close()
    return {
        "diffusion, page before it is touched, MB": (light - before) / 1e6,
        "diffusion, first step, MB": (sent - before) / 1e6,
        "diffusion, first step, s": first,
        "diffusion, 16 faces in 25 steps, s": whole,
        "diffusion, 16 faces in 25 steps, processor s": computed,
    }
