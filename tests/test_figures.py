"""Figures: what is displayed, what is compared, what is refused; the slider and the
panel are operated.
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from browsing import browser
from PIL import Image

from pltutorial.errors import InputError
from pltutorial.teaching import figures

__all__ = ["browser"]  # a fixture


@pytest.fixture
def shown(monkeypatch):
    """A list that receives every displayed bundle, as an IPython shell would."""
    bundles = []
    import IPython.display

    monkeypatch.setattr(figures, "_shell", lambda: SimpleNamespace(kernel=None))

    def display(bundle, raw):
        assert raw
        bundles.append(bundle)

    monkeypatch.setattr(IPython.display, "display", display)
    return bundles


def picture(seed: int = 0, height: int = 40, width: int = 60) -> torch.Tensor:
    """A smooth picture, so that JPEG keeps its values."""
    small = torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


def decoded(bundle: dict) -> numpy.ndarray:
    kind = "image/png" if "image/png" in bundle else "image/jpeg"
    return (
        numpy.asarray(
            Image.open(io.BytesIO(base64.b64decode(bundle[kind]))).convert("RGB"),
            dtype=float,
        )
        / 255
    )


# ---- pictures ------------------------------------------------------------------------


def test_show_displays_one_jpeg_and_its_line(shown):
    image = picture()
    assert figures.show(image) is None
    (bundle,) = shown
    assert set(bundle) == {"image/jpeg", "text/plain"}
    assert bundle["text/plain"] == f"show: 1 picture 3x40x60, mean {image.mean():.2f}"
    margin = (decoded(bundle).shape[1] - 60) // 2
    panel = decoded(bundle)[margin : margin + 40, margin : margin + 60]
    assert numpy.abs(panel - image[0].permute(1, 2, 0).numpy()).mean() < 0.02


def test_without_ipython_the_line_is_printed(capsys):
    figures.show([picture(), picture(1)], facts="shape")
    assert capsys.readouterr().out == "show: 2 pictures 3x40x60\n"


def test_zoom_is_exact_and_stored_without_loss(shown):
    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    figures.show(image, zoom=8)
    assert "image/png" in shown[0]
    pixels = (decoded(shown[0]) * 255).round()
    white = (decoded(shown[0]).shape[1] - 56) // 2
    expected = (image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(numpy.uint8)
    assert (
        pixels[white : white + 40, white : white + 56]
        == expected.repeat(8, 0).repeat(8, 1)
    ).all()
    assert (pixels[0] == 255).all()


@pytest.mark.parametrize("count", range(1, 10))
def test_every_number_of_panels_fits_the_page_and_keeps_its_order(shown, count):
    grey = [torch.full((1, 3, 300, 400), (i + 1) / 12) for i in range(count)]
    figures.show(
        grey, [f"number {i} with a long title that wraps" for i in range(count)]
    )
    sheet = decoded(shown[0])
    assert 300 < sheet.shape[1] <= figures.WIDTH
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    room = sheet.shape[1] / columns
    for i in range(count % columns or columns):  # the last row, at its lower edge
        last = count - (count % columns or columns) + i
        value = sheet[-16, round((i + 0.5) * room)].mean()
        assert value == pytest.approx((last + 1) / 12, abs=0.02)


def test_pictures_of_different_sizes_keep_their_proportions(shown):
    figures.show([torch.zeros(1, 3, 100, 300), torch.zeros(1, 3, 300, 100)])
    dark = decoded(shown[0]).mean(2) < 0.5
    left, right = dark[:, : dark.shape[1] // 2], dark[:, dark.shape[1] // 2 :]
    wide, tall = (numpy.ptp(numpy.nonzero(part), axis=1) + 1 for part in (left, right))
    assert wide[1] / wide[0] == pytest.approx(3, rel=0.05)
    assert tall[0] / tall[1] == pytest.approx(3, rel=0.05)


def test_titles_stay_within_their_columns():
    from pltutorial.teaching.sheets import _wrap

    for text in (
        "a title of several words that is long",
        "one_very_long_word_without_any_space",
    ):
        lines, font = _wrap(text, 19, 150)
        assert max(font.getlength(line) for line in lines) <= 150 or font.size == 10
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_single_channels_state_their_scale(shown):
    feature = torch.linspace(-3, 5, 2 * 20 * 30).reshape(2, 1, 20, 30)
    figures.show(feature, scale="joint", facts="shape")
    figures.show(feature, scale="each", cmap="viridis", facts="shape")
    figures.show(feature[0, 0], scale=(-3, 1), zoom=4, facts="shape")
    assert [bundle["text/plain"] for bundle in shown] == [
        "show: 2 pictures 1x20x30",
        "show: 2 pictures 1x20x30",
        "show: 1 picture 1x20x30",
    ]
    joint, each, pair = (decoded(bundle) for bundle in shown)
    x = pair.shape[1] // 2 - 60
    assert pair[6 + 2, x + 2].max() < 0.02  # -3 is black
    assert pair[6 + 78, x + 118].min() > 0.9  # 1 is white
    bar_rows = [sheet[-14].std() for sheet in (joint, each, pair)]
    assert min(bar_rows) > 0.05


def test_joint_and_each_differ_where_ranges_differ(shown):
    feature = torch.stack(
        [
            torch.linspace(0, 1, 600).reshape(1, 20, 30),
            torch.linspace(0, 4, 600).reshape(1, 20, 30),
        ]
    )
    differences = {}
    for scale in ("joint", "each"):
        figures.show(feature, scale=scale, zoom=4)
        panels = decoded(shown[-1])[6:86]
        half = panels.shape[1] // 2
        differences[scale] = panels[:, half:].mean() - panels[:, :half].mean()
    assert differences["joint"] > 0.2
    assert differences["each"] == pytest.approx(0, abs=0.01)


def test_values_are_written_into_the_pixels(shown):
    figures.show(torch.full((1, 1, 2, 2), 0.5), zoom=40)
    figures.show(torch.full((1, 1, 2, 2), 0.5), zoom=40, values=True)
    plain, written = (decoded(bundle) for bundle in shown)
    assert plain.shape == written.shape
    changed = numpy.abs(plain - written).max(2) > 0.1
    assert 0.02 < changed.mean() < 0.4


def test_grid_and_sweep(shown):
    a, b = picture(0), picture(1)
    figures.grid(
        [[a, b], [b, a]],
        ["relu1_1", "relu3_3"],
        ["first", "second"],
        facts="means differ",
    )
    figures.sweep({0.5: a * 0.5, 1.0: a}, name="gain")
    lines = [bundle["text/plain"] for bundle in shown]
    assert lines[0] == "grid: 2 rows x 2 columns, 4 pictures 3x40x60, means differ"
    assert lines[1].startswith("sweep: gain = 0.5 1, 2 pictures 3x40x60, means ")
    sheet = decoded(shown[0])
    assert sheet[:, :34].min() < 0.3  # row titles, on the left of the pictures
    half = a.mean() * 0.5
    assert lines[1].endswith(f"means {half:.2f} {a.mean():.2f}")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((1, 3, 4, 4), float("nan")), "NaN"),
        (torch.full((1, 3, 4, 4), float("inf")), "infinite"),
        (torch.full((1, 3, 4, 4), 255.0), "divide 8-bit values by 255"),
        (torch.full((1, 3, 4, 4), -0.5), "it needs [0, 1]"),
        (torch.full((1, 1, 4, 4), 3.0), "scale="),
        (torch.rand(1, 64, 4, 4), "1x64x4x4"),
        (torch.rand(1, 3, 0, 4), "1x3x0x4"),
        (torch.rand(3), "3"),
        ([], "no picture"),
    ],
)
def test_bad_pictures_are_refused_in_one_sentence(image, words):
    with pytest.raises(InputError) as refused:
        figures.show(image)
    message = str(refused.value)
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.show(picture(), ["a", "b"]), "2 titles for 1"),
        (lambda: figures.show(picture(), zoom=50), "up to 12"),
        (lambda: figures.show(picture()[:, :1], scale="all"), "scale is 'all'"),
        (lambda: figures.show(picture()[:, :1], scale=(1, 0)), "low below high"),
        (lambda: figures.show(picture()[:, :1], cmap="rainbows"), "rainbows"),
        (
            lambda: figures.grid([[picture()], [picture(), picture()]]),
            "rows of 1, 2 pictures",
        ),
        (lambda: figures.grid([]), "no pictures"),
        (lambda: figures.grid([[picture()]], ["a", "b"]), "2 row titles for 1"),
        (lambda: figures.curves({}, "x", "y"), "no line"),
        (lambda: figures.curves({"a": [1, float("nan")]}, "x", "y"), "NaN"),
        (lambda: figures.curves({"a": [1, 0]}, "x", "y", log=True), "0 or less"),
        (lambda: figures.curves({"a": ([1, 2], [1])}, "x", "y"), "2 x and 1 y"),
        (lambda: figures.frame_slider([picture()], [1], "alt", "n"), "at least two"),
        (
            lambda: figures.frame_slider(
                [picture(), picture(height=20)], [1, 2], "alt", "n"
            ),
            "one size",
        ),
        (
            lambda: figures.frame_slider([picture(), picture()], [1], "alt", "n"),
            "1 labels for 2 frames",
        ),
        (
            lambda: figures.frame_slider([picture(), picture()], [1, 2], " ", "n"),
            "alt text",
        ),
        (
            lambda: figures.frame_slider(
                [picture(), picture()], [1, 2], "alt", "n", start=2
            ),
            "start at frame 2",
        ),
        (lambda: figures.live_panel(print, gain=[]), "cannot start 'gain'"),
        (
            lambda: figures.live_panel(print, start={"gain": 3}, gain=[1, 2]),
            "cannot start 'gain' at 3",
        ),
    ],
)
def test_bad_calls_are_refused_in_one_sentence(call, words):
    with pytest.raises(InputError) as refused:
        call()
    assert words in str(refused.value)
    assert str(refused.value).endswith(".")


def test_half_precision_and_gradients_are_accepted(shown):
    figures.show(picture().bfloat16().requires_grad_())
    assert shown[0]["text/plain"].startswith("show: 1 picture")


# ---- curves --------------------------------------------------------------------------


def test_curves_draw_png_and_say_what_was_asked(shown):
    lines = {"L-BFGS": [8.0, 2.0, 0.51], "Adam": ([1, 10], [8.0, 8.01])}
    for facts in ("ends", "trend", "shape", "Adam is slower"):
        figures.curves(lines, "step", "loss", log=True, facts=facts)
    assert [set(bundle) for bundle in shown] == [{"image/png", "text/plain"}] * 4
    assert [bundle["text/plain"] for bundle in shown] == [
        "curves: L-BFGS 3 points from 8 to 0.51; Adam 2 points from 8 to 8",
        "curves: L-BFGS 3 points falls; Adam 2 points stays",
        "curves: L-BFGS 3 points; Adam 2 points",
        "curves: L-BFGS 3 points; Adam 2 points; Adam is slower",
    ]
    sheet = decoded(shown[0])
    assert sheet.shape[1] <= figures.WIDTH
    blue, orange = (
        (numpy.abs(sheet - numpy.array(c)).max(2) < 0.08).sum()
        for c in ((0, 0.45, 0.7), (0.84, 0.37, 0))
    )
    assert blue > 300
    assert orange > 200


def test_figures_are_equal_bytes_twice(shown):
    for _ in range(2):
        figures.show([picture(), picture(1)], ["a", "b"])
        figures.curves({"a": [1, 2]}, "x", "y")
        figures.frame_slider([picture(), picture(1)], [1, 2], "noise", "seed")
    assert shown[:3] == shown[3:]


def test_importing_is_light_and_pyplot_is_never_touched():
    code = (
        "import sys, numpy; from pltutorial.teaching import figures;heavy = "
        "{'torch', 'matplotlib', 'IPython', 'ipywidgets'};assert not heavy & "
        "set(sys.modules), heavy & set(sys.modules);figures.show(numpy.eye(3), 'a "
        "title'); figures.curves({'a': [1, 2]}, 'x', 'y');assert "
        "'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(figures.__file__).parents[2]
    )


def test_no_other_module_imports_figures():
    package = Path(figures.__file__).parents[1]
    users = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"import.*\bfigures\b", path.read_text())
    ]
    assert users == []


# ---- the slider ----------------------------------------------------------------------


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


# ---- the live panel ------------------------------------------------------------------


def test_live_panel_stands_still_where_nobody_is_there(shown, capsys):
    calls = []
    figures.live_panel(
        lambda gain, mode: calls.append((gain, mode)),
        start={"gain": 2},
        gain=[1, 2],
        mode=["a", "b"],
    )
    assert calls == [(2, "a")]
    assert shown == []  # a displayed line would get the caption of the picture below it
    assert capsys.readouterr().out.startswith(
        "live_panel (gain = 1 2; mode = a b): run this cell in Jupyter"
    )


def test_live_panel_calls_back_when_moved(monkeypatch):
    import IPython.display
    import ipywidgets

    panels, calls = [], []
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    monkeypatch.setattr(
        figures,
        "_shell",
        lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)),
    )
    monkeypatch.setattr(IPython.display, "display", panels.append)
    figures.live_panel(
        lambda gain, mode: calls.append((gain, mode)), gain=[1, 2], mode=["a", "b"]
    )
    slider, menu, _ = panels[0].children
    assert isinstance(slider, ipywidgets.SelectionSlider)
    assert isinstance(menu, ipywidgets.Dropdown)
    slider.value, menu.value = 2, "b"
    assert calls == [(1, "a"), (2, "a"), (2, "b")]


def test_static_setting_wins_over_a_front_end(shown, monkeypatch, capsys):
    monkeypatch.setenv("PLTUTORIAL_STATIC", "1")
    monkeypatch.setattr(
        figures,
        "_shell",
        lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)),
    )
    figures.live_panel(lambda gain: None, gain=[1])
    assert shown == []
    assert capsys.readouterr().out.startswith(
        "live_panel (gain = 1): run this cell in Jupyter"
    )
