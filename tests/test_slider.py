"""The slider: its page, and what it does in a browser."""

from __future__ import annotations

import re

import pytest
import torch
from browsing import browser
from test_figures import picture, shown

from pltutorial.teaching import figures

__all__ = ["browser", "shown"]  # fixtures


def slider_page(shown, **settings) -> str:
    frames = [torch.full((1, 3, 240, 384), value) for value in (0.2, 0.5, 0.8)]
    labels = settings.pop("labels", [0.2, 0.5, '</script><b>0.8 & "more"'])
    figures.frame_slider(
        frames, labels, 'Grey "noise" <here>', "style weight", **settings
    )
    return shown[-1]["text/html"]


def test_slider_is_labelled_escaped_and_compared(shown):
    page = slider_page(shown)
    assert shown[0]["text/plain"].startswith("frame_slider: style weight = 0.2 0.5 ")
    assert 'id="frame-slider-style-weight"' in page
    assert 'alt="Grey &quot;noise&quot; &lt;here&gt;, 0.2"' in page
    assert page.count("</script>") == 1
    # or JupyterLab takes the keys: it asks the focused element itself
    for control in ("<button", "<input"):
        assert re.search(control + r"[^>]* data-lm-suppress-shortcuts", page)
    assert "http" not in page
    assert re.findall(r"<figure( class=on)?>", page) == [" class=on", "", ""]
    assert len(set(re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', page))) == 3
    assert page.count("base64,") == 3, "each frame is stored once"


def test_slider_adds_little_to_its_frames(shown):
    page = slider_page(shown)
    code = re.sub(r'src="[^"]+"', "", page)
    script = re.search(r"<script>(.*)</script>", code, re.S)[1]
    assert len(script) < 1_500
    assert len(code) < 4_500


@pytest.mark.parametrize(
    ("labels", "below"),
    [
        ([1, 2, 3], ["1", "2", "3"]),
        (range(9), [str(i) for i in range(9)]),
        (
            [f"up to relu{i}" for i in range(9)],
            ["up to relu0", "up to relu4", "up to relu8"],
        ),
        (
            ["a label that is long and fills half"] * 4,
            ["a label that is long and fills half"] * 2,
        ),
    ],
)
def test_labels_below_the_slider_fit(shown, labels, below):
    figures.frame_slider(
        [picture(i) for i in range(len(labels))], labels, "noise", "seed"
    )
    assert re.findall(r"<i>(.*?)</i>", shown[0]["text/html"]) == below


@pytest.fixture
def opened(shown, browser, tmp_path):
    """Open a page of two sliders from a file; at the end nothing may have failed or
    asked the network.
    """
    first, second = slider_page(shown), slider_page(shown, start=1)
    second = second.replace("frame-slider-style-weight", "frame-slider-other")
    head = '<!doctype html><meta name="viewport" content="width=device-width">'
    head += '<meta name="color-scheme" content="light dark">'
    file = tmp_path / "page.html"
    file.write_text(f"{head}<body>{first}{second}</body>", encoding="utf-8")
    wrong = []
    contexts = []

    def opened(before: str = "", **settings):
        contexts.append(
            browser.new_context(viewport={"width": 390, "height": 800}, **settings)
        )
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or wrong.append(request.url)
            ),
        )
        page.add_init_script(before)
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


BOX = "#frame-slider-style-weight"


def visible(page, box: str = BOX) -> list[str]:
    """Descriptions of the frames that are displayed."""
    return page.eval_on_selector_all(
        f"{box} img", "all => all.filter(i => i.offsetWidth).map(i => i.alt)"
    )


def settled(page, alt: str) -> None:
    """Wait until this frame alone is displayed: each is decoded before it is shown, and
    the last one fades.
    """
    page.wait_for_function(
        "([box, alt]) => { const seen = [...document.querySelectorAll(box + ' "
        "img')].filter(i => i.offsetWidth); return seen.length === 1 && "
        "seen[0].alt.endsWith(alt); }",
        arg=[BOX, alt],
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_slider_moves_in_a_browser_from_a_file(opened, scheme):
    page = opened(color_scheme=scheme)
    box = page.locator(BOX)
    output, control = (
        box.locator("output"),
        box.get_by_role("slider", name="style weight"),
    )
    names = page.evaluate(
        "Object.keys(window).filter(n => ['box', 'range', 'decode', "
        "'neighbours'].includes(n))"
    )
    assert names == []
    assert output.inner_text() == "0.2"
    height = box.bounding_box()["height"]
    control.focus()
    for key, label in (
        ("ArrowRight", "0.5"),
        ("End", '</script><b>0.8 & "more"'),
        ("PageDown", "0.5"),
        ("Home", "0.2"),
        ("PageUp", "0.5"),
        ("ArrowUp", '</script><b>0.8 & "more"'),
        ("ArrowLeft", "0.5"),
    ):
        page.keyboard.press(key)
        assert (output.inner_text(), control.get_attribute("aria-valuetext")) == (
            label,
            label,
        )
        settled(page, label)
        assert (
            box.get_by_role("img").get_attribute("alt")
            == f'Grey "noise" <here>, {label}'
        )
        assert box.bounding_box()["height"] == height, "nothing below the slider jumps"
    assert page.locator("#frame-slider-other output").inner_text() == "0.5"
    control.focus()
    page.keyboard.press("Home")
    settled(page, "0.2")
    assert visible(page, "#frame-slider-other") == ['Grey "noise" <here>, 0.5'], (
        "the other one did not move"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    text, dark = page.evaluate(
        "[getComputedStyle(document.querySelector('.frame-slider output')).color,"
        " matchMedia('(prefers-color-scheme: dark)').matches]"
    )
    assert (text == "rgb(255, 255, 255)") == dark  # the page's own colour


def test_slider_follows_a_finger(opened):
    page = opened(has_touch=True)
    control = page.locator(BOX).get_by_role("slider")
    area = control.bounding_box()
    assert area["height"] >= 44
    page.touchscreen.tap(area["x"] + area["width"] - 5, area["y"] + 22)
    settled(page, '"more"')
    page.touchscreen.tap(area["x"] + area["width"] / 2, area["y"] + 22)
    settled(page, "0.5")


COUNT = """
window.asked = []; window.faded = 0;
const decode = HTMLImageElement.prototype.decode, animate = Element.prototype.animate;
HTMLImageElement.prototype.decode = function () {
  asked.push(this.alt.split(", ").pop());
  return decode.call(this);
};
Element.prototype.animate = function (...given) {
  faded += 1;
  return animate.apply(this, given);
};
"""


def test_slider_decodes_only_the_shown_frame_and_its_neighbours(opened):
    page = opened(COUNT)
    assert page.evaluate("asked") == []
    page.locator(BOX).get_by_role("slider").focus()
    assert page.evaluate("asked") == ["0.5"]
    page.keyboard.press("ArrowRight")
    settled(page, "0.5")
    assert page.evaluate("asked.slice(1)") == ["0.5", "0.2", '</script><b>0.8 & "more"']


@pytest.mark.parametrize(("motion", "fades"), [("no-preference", 1), ("reduce", 0)])
def test_slider_fades_unless_less_motion_is_asked_for(opened, motion, fades):
    page = opened(COUNT, reduced_motion=motion)
    page.locator(BOX).get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    settled(page, "0.5")
    assert page.evaluate("faded") == fades


def test_a_frame_that_was_passed_before_it_was_decoded_is_never_shown(opened):
    slow = "const decode = HTMLImageElement.prototype.decode; window.release = [];"
    slow += (
        "HTMLImageElement.prototype.decode = function () { return new Promise(done => "
        "release.push(done)); };"
    )
    page = opened(slow)
    page.locator(BOX).get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert visible(page) == ['Grey "noise" <here>, 0.2'], (
        "the old frame stays until the new one is decoded"
    )
    page.evaluate("release.forEach(done => done())")
    settled(page, '"more"')


ALL = [
    f'Grey "noise" <here>, {label}'
    for label in ("0.2", "0.5", '</script><b>0.8 & "more"')
]


def test_all_frames_are_printed_or_laid_side_by_side(opened):
    page = opened()
    box = page.locator(BOX)
    button = box.get_by_role("button", name="side by side")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert visible(page) == ALL
    assert box.locator("figcaption").nth(1).inner_text() == "0.5"
    assert not box.locator("input").is_visible()
    button.click()
    assert visible(page) == ALL[:1]
    page.emulate_media(media="print")
    assert visible(page) == ALL
    assert not box.locator("input").is_visible()
    assert not button.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_readers_without_scripts_see_all_frames(opened):
    page = opened(java_script_enabled=False)
    for index in range(3):
        assert page.locator(f"{BOX} img").nth(index).is_visible()
    assert not page.locator(f"{BOX} input").is_visible()
