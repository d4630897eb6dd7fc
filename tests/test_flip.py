"""The page that flips between two networks: its pictures are those of the networks that
ship, one pixel is one pixel, and a key, a finger and a link do what they say.
"""

from __future__ import annotations

import json

import pytest
import torch
from live import Server, browser, folder, server, visit
from test_axe import faults
from test_lab import pixels

from benchmarks import flip
from pltutorial import downscale, load_restorer, psnr, read_image, upscale

__all__ = ["browser", "folder", "server", "visit"]  # fixtures
FACTS = json.loads(flip.RECORD.read_text(encoding="utf-8"))
WIDTH, HEIGHT = FACTS["size"]
LIMIT = 2.5e6  # bytes of all pictures
STORED = 5 / 255  # what WebP of this quality changes in a pixel, on average
DATA = "document.documentElement.dataset"


def names() -> set[str]:
    return {f"photo_{photo}" for photo in FACTS["photos"]} | {
        f"{task}_{photo}_{view}"
        for task, facts in FACTS["tasks"].items()
        for photo in FACTS["photos"]
        for view in facts["views"]
    }


def stored(name: str) -> torch.Tensor:
    return read_image(flip.FOLDER / f"{name}.webp")


# --- the pictures ---------------------------------------------------------------------


def test_every_picture_is_there_and_nothing_else():
    files = {path.stem for path in flip.FOLDER.glob("*.webp")}
    assert files == names()
    assert {*FACTS["tasks"]} == {*flip.TASKS}
    sizes = {stored(name).shape for name in files}
    assert sizes == {(1, 3, HEIGHT, WIDTH)}
    total = sum(path.stat().st_size for path in flip.FOLDER.iterdir())
    assert total <= LIMIT


@pytest.mark.parametrize("task", FACTS["tasks"])
def test_pictures_are_of_the_networks_that_ship(task):
    """A network that was trained anew needs `python -m benchmarks.flip TASK`."""
    known = FACTS["tasks"][task]["networks"]
    assert known, "at least one network draws"
    assert known == {name: flip.digest(name) for name in known}


@pytest.mark.parametrize("photo", FACTS["photos"])
def test_stored_pictures_are_what_is_computed(photo):
    """The photograph as it is cut, and an enlargement by a network and by torch."""
    (name,) = [name for name in flip.PHOTOS if name.endswith(f"/{photo}")]
    whole = flip.photograph(name)
    assert float((stored(f"photo_{photo}") - whole).abs().mean()) < STORED
    small = downscale(whole, 4)
    how = {"scale_factor": 4, "mode": "bicubic", "align_corners": False}
    plain = torch.nn.functional.interpolate(small, **how).clamp(0, 1)
    made = upscale(small, network=load_restorer("upscale", "feature"))
    for view, picture in (("bicubic", plain), ("feature", made)):
        off = float((stored(f"enlarge_{photo}_{view}") - picture).abs().mean())
        other = stored(f"enlarge_{photo}_{'pixel' if view == 'bicubic' else 'bicubic'}")
        assert off < STORED, view
        assert off < float((other - picture).abs().mean()), "and no other picture"


def test_numbers_are_of_these_pictures():
    """PSNR of what is stored is what the record says, but for what storing costs. Of
    noise WebP takes away a good part: colours are stored at half the size.
    """
    for task in ("enlarge", "denoise", "deblur", "codes"):
        for photo, rows in FACTS["tasks"][task]["numbers"].items():
            right = stored(f"photo_{photo}")
            for view, row in rows.items():
                if task == "denoise" and view in ("given", "means"):  # noise is left
                    continue
                made = stored(f"{task}_{photo}_{view}")
                found = float(psnr(made, right, channel="rgb"))
                assert found == pytest.approx(row["psnr"], abs=0.8), (task, photo, view)


# --- the page -------------------------------------------------------------------------


def open_flip(visit, server, state: str = "", **how):
    page = visit(f"{server.origin}live/flip.html{state}", done=False, **how)
    settled(page)
    return page


def settled(page, action=None) -> None:
    if action:
        page.evaluate(f"() => {{ {DATA}.settled = ''; }}")
        action()
    page.wait_for_function(f"() => {DATA}.settled === 'yes'")


def shown(page) -> str:
    """What lies on top: the side that the divider leaves."""
    edge = page.evaluate(
        "() => document.querySelector('#compare').style.getPropertyValue('--divider')"
    )
    return {"100%": "a", "0%": "b"}[edge]


def test_two_pictures_in_one_place_pixel_by_pixel(visit, server):
    state = "#task=enlarge&photo=monarch&a=bicubic&b=feature"
    page = open_flip(visit, server, state)
    for side, view in (("before", "bicubic"), ("after", "feature")):
        picture = pixels(page, f"#compare .{side}")
        assert float((picture - stored(f"enlarge_monarch_{view}")).abs().max()) < 0.02
        box = page.locator(f"#compare .{side}").bounding_box()
        assert (box["width"], box["height"]) == (WIDTH, HEIGHT)
    page.click("#twice")
    box = page.locator("#compare .after").bounding_box()
    assert (box["width"], box["height"]) == (2 * WIDTH, 2 * HEIGHT)
    how = "e => getComputedStyle(e).imageRendering"
    assert page.locator("#compare .after").evaluate(how) == "pixelated"
    row = FACTS["tasks"]["enlarge"]["numbers"]["monarch"]
    cells = page.locator("#judged td").all_inner_texts()
    assert cells[0::2] == [f"{row[v]['psnr']:.2f} dB" for v in ("bicubic", "feature")]
    assert cells[1::2] == [f"{row[v]['distance']:.3f}" for v in ("bicubic", "feature")]


def test_button_key_and_click_flip_and_the_link_keeps_it(visit, server):
    page = open_flip(visit, server, "#task=denoise&photo=kodim23&a=given&b=combined")
    assert (shown(page), page.inner_text("#shown")) == ("a", "A: as given")
    page.click("#flip")
    assert (shown(page), page.inner_text("#shown")) == ("b", "B: combined loss")
    page.evaluate("document.activeElement.blur()")
    before = page.evaluate("scrollY")
    page.keyboard.press(" ")
    assert (shown(page), page.evaluate("scrollY")) == ("a", before)
    page.focus("#stage")
    page.keyboard.press(" ")
    assert shown(page) == "b"
    page.click("#compare", position={"x": 40, "y": 40})
    assert shown(page) == "a"
    page.click("#compare", position={"x": 400, "y": 40})
    assert shown(page) == "b"
    hidden = page.locator("#compare .before").get_attribute("aria-hidden")
    assert hidden == "true", "who hears the page hears one picture"
    settled(page, lambda: page.select_option("#task", "holes"))
    assert page.locator("#a").input_value() == "combined"
    page.click("#twice")
    page.wait_for_function("() => /task=holes.*show=b&zoom=2/.test(location.hash)")
    address = page.url
    again = open_flip(visit, server, f"#{address.partition('#')[2]}")
    assert shown(again) == "b"
    assert again.locator("#task").input_value() == "holes"
    assert again.locator("#twice").get_attribute("aria-pressed") == "true"
    odd = open_flip(visit, server, "#task=nothing&photo=%00&a=x&b=photo&zoom=9")
    assert odd.locator("#task").input_value() == "enlarge"
    assert odd.locator("#b").input_value() == "photo"


def test_the_divider_moves_by_keys_and_a_flip_ends_it(visit, server):
    page = open_flip(visit, server, "#task=codes&divider")
    handle = page.locator("#compare [role=slider]")
    assert handle.locator("svg").is_visible()
    handle.focus()
    page.keyboard.press("Home")
    words = handle.get_attribute("aria-valuetext")
    assert words == "0 % relu4_3, image loss, 100 % relu4_3, DeePSiM"
    page.click("#flip")
    assert handle.locator("svg").is_hidden()
    assert page.locator("#split").get_attribute("aria-pressed") == "false"


def test_on_a_phone_a_finger_flips(visit, folder):
    """In the dark and in a page of the book; nothing is fetched but two pictures of
    whose task is chosen, and the page itself does not scroll sideways.
    """
    served = Server(folder)
    phone = {"width": 390, "color_scheme": "dark", "has_touch": True}
    try:
        page = open_flip(visit, served, "?in=book#task=great_wave", **phone)
        pictures = {path for path in served.asked if ".webp" in path}
        first = next(iter(FACTS["photos"]))
        assert pictures == {
            f"/live/flip/great_wave_{first}_{view}.webp" for view in ("fast", "full")
        }
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        page.locator("#compare").tap(position={"x": 60, "y": 60})
        assert shown(page) == "b"
        assert page.locator("#compare .after").bounding_box()["width"] == WIDTH
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.inner_text("#first-head") == "of the photo lost"
        assert faults(page) == []
    finally:
        served.stop()


def test_a_picture_that_does_not_come_is_one_sentence(visit, folder):
    served = Server(folder)
    try:
        served.broken = {"enlarge_"}
        expect = "503|could not be"
        address = f"{served.origin}live/flip.html"
        page = visit(address, done=False, expect=expect)
        page.wait_for_selector("#problem:not([hidden])")
        assert "could not be fetched" in page.inner_text("#problem-text")
        served.broken = set()
        settled(page, lambda: page.click("#retry"))
        assert page.locator("#problem").is_hidden()
    finally:
        served.stop()


def test_its_pictures_are_kept_once_they_are_used(folder):
    """Without a network the page shows what was looked at; nobody fetches the rest."""
    listed = json.loads((folder / "live" / "version.json").read_text())["files"]
    ours = [file for file in listed if file["path"].startswith("flip/")]
    assert len(ours) == len(names()) + 1
    assert all(file["later"] for file in ours)
