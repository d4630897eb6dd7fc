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
