"""Figures: what is displayed, compared and refused; the panel is operated."""

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
    """The drawing of `curves`."""
    return _array(bundle["image/png"])


def panels(bundle: dict) -> list[numpy.ndarray]:
    """The pictures of `show`, `grid` and `sweep`, in their order."""
    return [_array(data) for data in re.findall(r"base64,([^\"]+)", _page(bundle))]


def _array(data: str) -> numpy.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    return numpy.asarray(picture, dtype=float) / 255


def _page(bundle: dict) -> str:
    return bundle["text/html"]


def texts(bundle: dict, element: str) -> list[str]:
    return re.findall(rf"<{element} class=\"panel[^>]*>([^<]*)</", _page(bundle))


# ---- pictures ------------------------------------------------------------------------


def test_show_displays_each_picture_and_its_line(shown):
    image = picture()
    assert figures.show(image) is None
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == f"show: 1 picture 3x40x60, mean {image.mean():.2f}"
    (panel,) = panels(bundle)
    assert panel.shape == (40, 60, 3)
    assert numpy.abs(panel - image[0].permute(1, 2, 0).numpy()).mean() < 0.02


def test_titles_are_text_and_pictures_are_described(shown):
    figures.show([picture(), picture(1)], ["a < b", "second"])
    figures.show([picture(), picture(1)])
    assert texts(shown[0], "figcaption") == ["a &lt; b", "second"]
    assert re.findall(r'alt="([^"]*)"', _page(shown[0])) == ["a &lt; b", "second"]
    assert texts(shown[1], "figcaption") == []
    described = re.findall(r'alt="([^"]*)"', _page(shown[1]))
    assert described == ["picture 1 of 2", "picture 2 of 2"]


def test_a_picture_is_stored_at_twice_its_width_and_never_enlarged(shown):
    figures.show([picture(height=600, width=900)] * 3)
    figures.show([picture(height=60, width=90)] * 3)
    room = (figures.WIDTH - 20) // 3
    large, small = (re.findall(r'width="(\d+)"', _page(bundle)) for bundle in shown)
    assert large == [str(2 * room)] * 3
    assert small == ["90"] * 3
    large, small = (re.findall(r"max-width:(\d+)px", _page(one)) for one in shown)
    assert large == [str(room)] * 3
    assert small == ["90"] * 3
    assert panels(shown[0])[0].shape == (round(2 * room * 2 / 3), 2 * room, 3)


def test_without_ipython_the_line_is_printed(capsys):
    figures.show([picture(), picture(1)], facts="shape")
    assert capsys.readouterr().out == "show: 2 pictures 3x40x60\n"


def test_zoom_is_exact_and_stored_without_loss(shown):
    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    figures.show(image, zoom=8)
    (pixels,) = panels(shown[0])
    expected = (image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(numpy.uint8)
    assert ((pixels * 255).round() == expected.repeat(8, 0).repeat(8, 1)).all()
    assert 'class="panels exact"' in _page(shown[0])  # the browser smooths nothing


@pytest.mark.parametrize("count", range(1, 10))
def test_every_number_of_panels_keeps_its_order_and_fits_the_page(shown, count):
    grey = [torch.full((1, 3, 300, 400), (i + 1) / 12) for i in range(count)]
    titles = [f"number {i} with a long title that wraps" for i in range(count)]
    figures.show(grey, titles)
    means = [panel.mean() for panel in panels(shown[0])]
    assert means == pytest.approx([(i + 1) / 12 for i in range(count)], abs=0.01)
    assert texts(shown[0], "figcaption") == titles
    columns, cell = re.search(r"--n:(\d);--cell:(\d+)px", _page(shown[0])).groups()
    assert int(columns) == {1: 1, 2: 2, 4: 2}.get(count, 3)
    assert 300 < int(columns) * (int(cell) + 10) - 10 <= figures.WIDTH


def test_pictures_of_different_sizes_keep_their_proportions(shown):
    figures.show([torch.zeros(1, 3, 100, 300), torch.zeros(1, 3, 300, 100)])
    wide, tall = (panel.shape for panel in panels(shown[0]))
    assert wide[1] / wide[0] == pytest.approx(3, rel=0.05)
    assert tall[0] / tall[1] == pytest.approx(3, rel=0.05)


def test_the_browser_lays_them_out_as_the_room_allows(shown, browser):
    figures.show([picture(i, 300, 400) for i in range(3)], ["one", "two", "three"])
    figures.grid([[picture(i, 300, 400)] * 3 for i in range(2)], ["a", "b"])
    for width, across in ((800, [3, 3]), (380, [2, 3]), (200, [1, 3])):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.set_content("".join(map(_page, shown)))
        lefts = page.eval_on_selector_all(
            ".panels",
            "all => all.map(box => new Set([...box.querySelectorAll('img')]"
            ".map(image => Math.round(image.getBoundingClientRect().left))).size)",
        )
        assert lefts == across
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()


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
    (pair,) = panels(shown[2])
    assert pair[2, 2].max() < 0.02  # -3 is black
    assert pair[78, 118].min() > 0.9  # 1 is white
    notes = [re.findall(r'<p class="panel">(.*?)</p>', _page(one)) for one in shown]
    said = [re.sub(r"<i style.*</i>", "to", note[0]).strip() for note in notes]
    assert said == ["-3 to 5", "own minimum to own maximum", "-3 to 1"]
    bars = [re.search(r"90deg,(#\w+).*?(#\w+)\)", note[0]).groups() for note in notes]
    assert bars[0] == bars[2] == ("#000000", "#ffffff")
    assert bars[1] == ("#440154", "#fde725")  # viridis' ends


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
        left, right = panels(shown[-1])
        differences[scale] = right.mean() - left.mean()
    assert differences["joint"] > 0.2
    assert differences["each"] == pytest.approx(0, abs=0.01)


def test_values_are_written_into_the_pixels(shown):
    figures.show(torch.full((1, 1, 2, 2), 0.5), zoom=40)
    figures.show(torch.full((1, 1, 2, 2), 0.5), zoom=40, values=True)
    (plain,), (written,) = (panels(bundle) for bundle in shown)
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
    assert texts(shown[0], "b") == ["relu1_1", "first", "second", "relu3_3"]
    assert re.findall(r'alt="([^"]*)"', _page(shown[0])) == [
        "relu1_1, first",
        "relu1_1, second",
        "relu3_3, first",
        "relu3_3, second",
    ]
    means = [panel.mean() for panel in panels(shown[0])]
    expected = [float(one.mean()) for one in (a, b, b, a)]
    assert means == pytest.approx(expected, abs=0.01)
    half = a.mean() * 0.5
    assert lines[1].endswith(f"means {half:.2f} {a.mean():.2f}")
    assert texts(shown[1], "figcaption") == ["gain = 0.5", "gain = 1"]


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
    kinds = {"image/svg+xml", "image/png", "text/plain"}
    assert [set(bundle) for bundle in shown] == [kinds] * 4
    sharp = shown[0]["image/svg+xml"]
    assert re.findall(r"<text[^>]*>(L-BFGS|Adam|step|loss)</text>", sharp)
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
