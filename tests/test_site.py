"""The built site: self-contained, whole, and readable on a screen, on a phone, in the
dark and by keyboard.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsing import CHAPTERS, PAGES, ROOT, Elements, address, browser, site, visit

sys.path.insert(0, str(ROOT / "book"))
from address import slug  # noqa: E402

sys.path.pop(0)

# fixtures, and what others import
__all__ = ["CHAPTERS", "PAGES", "ROOT", "address", "browser", "site", "visit"]
REPOSITORY = slug()
SCREENS = {"screen": (1280, 900, "light"), "phone": (390, 844, "dark")}
pages = pytest.mark.parametrize("page", PAGES)
chapters = pytest.mark.parametrize("page", CHAPTERS)


# --- without a browser ----------------------------------------------------------------


@pages
def test_nothing_comes_from_elsewhere(site, page):
    elements = Elements(site / f"{page}.html")
    sources = [
        attributes.get("src")
        for attributes in elements.named("script", "img", "iframe", "source")
    ]
    sources += [
        link.get("href")
        for link in elements.named("link")
        if not {"canonical", "license"} & set((link.get("rel") or "").split())
    ]
    remote = [
        source for source in sources if source and re.match(r"(https?:)?//", source)
    ]
    assert remote == []


@pages
def test_every_picture_is_described(site, page):
    undescribed = [
        str(image.get("src"))[:80]
        for image in Elements(site / f"{page}.html").named("img")
        if not (image.get("alt") or "").strip()
    ]
    assert undescribed == []


@pages
def test_links_within_the_site_lead_somewhere(site, page):
    here, broken = site / f"{page}.html", []
    for link in Elements(here).named("a"):
        parts = urlsplit(link.get("href") or "")
        if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
            continue
        target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        if (
            not target.exists()
            or parts.fragment
            and target.suffix == ".html"
            and parts.fragment not in _anchors(target) | _states(target)
        ):
            broken.append(link["href"])
    assert broken == []


@functools.cache
def _anchors(page: Path) -> set[str]:
    return Elements(page).anchors()


@functools.cache
def _states(page: Path) -> set[str]:
    """What may stand behind # besides anchors: a task that the page of flips shows."""
    if page.name != "flip.html":
        return set()
    shown = json.loads((page.parent / "flip" / "flip.json").read_text("utf-8"))
    return {f"task={task}" for task in shown["tasks"]}


@chapters
def test_launch_links_name_the_chapter(site, page):
    links = [
        link.get("href") or "" for link in Elements(site / f"{page}.html").named("a")
    ]
    wanted = (
        f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/{page}.ipynb",
        f"https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/{page}.ipynb",
        f"http://localhost:8888/lab/tree/{page}.ipynb",
    )
    assert [link for link in wanted if link not in links] == []
    assert (ROOT / f"{page}.ipynb").exists()


def test_mathematics_is_local(site):
    scripts = [
        script.get("src") or ""
        for script in Elements(site / "book/glossary.html").named("script")
    ]
    mathjax = [source for source in scripts if "mathjax" in source.lower()]
    assert len(mathjax) == 1
    assert (site / "book" / mathjax[0].split("?")[0]).resolve().stat().st_size > 500_000


# --- in a browser ---------------------------------------------------------------------


@pages
@pytest.mark.parametrize("screen", SCREENS)
def test_page_is_sound(visit, page, screen):
    """No request leaves, no script fails, nothing scrolls sideways, and every
    picture is really shown.
    """
    width, height, scheme = SCREENS[screen]
    opened = visit(page, width, height, scheme)
    assert opened.evaluate("document.documentElement.dataset.theme") == scheme
    scrolled = opened.evaluate("document.documentElement.scrollWidth")
    assert scrolled <= width, (
        f"{page} is {scrolled} pixels wide on a screen of {width}: {_widest(opened)}"
    )
    cut_off = """[...document.querySelectorAll("article .cell_input pre")]
      .filter(code => code.scrollWidth > code.clientWidth + 1)
      .map(code => code.innerText)"""
    assert opened.evaluate(cut_off) == []
    # Scrolled into view first: a picture that loads lazily is not there before.
    empty = opened.evaluate(
        """async () => {
          const images = [...document.querySelectorAll("article img")];
          for (const image of images) {
            image.loading = "eager";
            await image.decode().catch(() => {});
          }
          return images.filter(image => !image.naturalWidth).map(image => image.alt);
        }"""
    )
    assert empty == []


def _widest(page) -> list[str]:
    return page.evaluate(
        """() => {
          const right = element => element.getBoundingClientRect().right;
          return [...document.querySelectorAll("body *")]
            .filter(element => right(element) > innerWidth + 1)
            .sort((a, b) => right(b) - right(a))
            .slice(0, 3).map(element => element.outerHTML.slice(0, 120));
        }"""
    )


@chapters
def test_formulas_are_set(visit, page):
    opened = visit(page)
    assert opened.locator("article mjx-container[display=true]").count() > 0
    assert opened.locator("article mjx-merror").count() == 0
    assert "\\[" not in opened.locator("article").inner_text()


@chapters
def test_sliders_move_by_keyboard(visit, page):
    opened = visit(page, 390, 844, reduced_motion="reduce")
    sliders = opened.locator("div.frame-slider")
    assert sliders.count() > 0, f"{page} has no slider"
    for index in range(sliders.count()):
        slider = sliders.nth(index)
        control = slider.locator("input[type=range]")
        assert control.get_attribute("aria-label")
        control.focus()
        opened.keyboard.press("Home")
        seen = [_state(slider)]
        for _ in range(int(control.get_attribute("max"))):
            opened.keyboard.press("ArrowRight")
            seen.append(_state(slider))
        for position, part in enumerate(("picture", "description", "spoken value")):
            different = len({state[position] for state in seen})
            assert different == len(seen), (
                f"{page}, slider {index}: {different} of {len(seen)} {part}s differ"
            )
        opened.keyboard.press("ArrowRight")
        assert _state(slider) == seen[-1], "the slider stops at its end"


def _state(slider) -> list[str]:
    """Picture, description and spoken value, once the one frame that is displayed
    is the slider's own.
    """
    return slider.evaluate(
        """async (box) => {
          const range = box.querySelector("input");
          const frames = [...box.querySelectorAll("figure")];
          const wanted = frames[Number(range.value)];
          const shown = () => frames.filter((frame) => frame.offsetWidth);
          while (shown().length !== 1 || shown()[0] !== wanted)
            await new Promise(requestAnimationFrame);
          const image = wanted.querySelector("img");
          await image.decode();
          return [image.src, image.alt, range.getAttribute("aria-valuetext")];
        }"""
    )


@pytest.mark.parametrize(
    "page", [name for name in CHAPTERS if re.search("/0[67]_", f"/{name}")]
)
def test_a_divider_lies_over_two_panels(visit, page):
    """It moves by keyboard, and the menus choose which two panels it parts."""
    opened = visit(page, 390, 844)
    (box,) = opened.locator(".divide").all()
    handle, (left, right) = box.get_by_role("slider"), box.locator("select").all()
    panels = opened.locator(".tag_divider img.panel")
    assert left.locator("option").count() == panels.count()
    before, after = (
        box.locator(f"canvas.{side}").evaluate_handle("(canvas) => canvas")
        for side in ("before", "after")
    )
    opened.wait_for_function("(canvas) => canvas.width > 200", arg=after)
    drawn = "(canvas) => canvas.toDataURL()"
    assert before.evaluate(drawn) != after.evaluate(drawn)
    right.select_option(index=left.evaluate("(menu) => menu.selectedIndex"))
    assert before.evaluate(drawn) == after.evaluate(drawn)
    handle.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"
    assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth")


@chapters
def test_answers_and_solutions_unfold(visit, page):
    opened = visit(page)
    answers = opened.locator("article details:not([class])")
    assert answers.count() >= 5, f"{page} has {answers.count()} folded answers"
    answer = answers.first
    assert answer.evaluate("answer => answer.open") is False
    answer.locator("summary").focus()
    opened.keyboard.press("Enter")
    assert answer.evaluate("answer => answer.open") is True
    solution = opened.locator("article div.solution.dropdown").first
    body = solution.locator("section").first
    assert body.count() == 1
    assert not body.is_visible()
    solution.locator("button.toggle-button").click()
    body.wait_for(state="visible", timeout=5000)


def test_search_finds_gram(visit):
    page = visit("book/index")
    page.keyboard.press("Control+k")
    page.keyboard.type("Gram")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=Gram**")
    page.locator("#search-results ul.search li a").first.wait_for(timeout=20_000)
    found = " ".join(
        link.get_attribute("href")
        for link in page.locator("#search-results ul.search a").all()
    )
    assert "notebooks/03_style_reconstruction.html" in found
    assert "book/api/losses.html" in found


def test_search_for_nonsense_finds_nothing(visit):
    page = visit("book/index")
    page.keyboard.press("Control+k")
    page.keyboard.type("Grxqzm")
    page.keyboard.press("Enter")
    page.locator("#search-results p.search-summary", has_text="did not match").wait_for(
        timeout=20_000
    )
    assert page.locator("#search-results ul.search li").count() == 0


def test_dark_mode_is_one_button(visit):
    page = visit("book/index")
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    for _ in range(3):  # the button goes round: automatic, light, dark
        page.locator("button.theme-switch-button").first.click()
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(colour) != before


def test_first_address_leads_to_the_front_page(visit):
    page = visit("index")
    page.wait_for_url("**/book/index.html")
    heading = page.locator("article h1").inner_text()
    assert heading.startswith("Teach a network what looks right")
