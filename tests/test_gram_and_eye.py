"""The labs of chapters 3 and 12 in Chromium: their numbers are the package's, by mouse
and by keyboard.
"""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from live import ROOT, Server, browser, choose, folder, picture, png, server, visit
from test_axe import faults
from test_lab import pixels

from pltutorial import (
    LossNetwork,
    feature_loss,
    gram_matrix,
    pixel_loss,
    ssim,
    style_loss,
)

__all__ = ["browser", "folder", "server", "visit"]  # fixtures
CLOSE = 1e-3  # relative: float32 in two runtimes
ROOT_DATA = "document.documentElement.dataset"
LAYERS, DEEP = ("relu1_2", "relu2_1", "relu2_2"), ("relu3_3",)


def fits(page, scheme: str) -> None:
    """A phone shows it whole, in its colours, and axe-core finds no serious fault."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(f"{ROOT_DATA}.theme") == scheme
    assert faults(page) == []


# --- chapter 3: Gram matrices ---------------------------------------------------------


def open_gram(visit, server, state: str = "?side=96", **how):
    page = visit(f"{server.origin}live/gram.html{state}", done=False, **how)
    page.wait_for_function("() => document.querySelector('#words').innerText")
    return page


def settled(page) -> dict[str, str]:
    """What the page says once nothing moves any more."""
    page.wait_for_function(f"() => {ROOT_DATA}.settled === 'yes'")
    return page.evaluate(f"() => ({{...{ROOT_DATA}}})")


def after(page, action) -> dict[str, str]:
    """What it says of something done."""
    settled(page)
    page.evaluate(f"() => {{ {ROOT_DATA}.settled = ''; }}")
    action()
    return settled(page)


@pytest.fixture(scope="module")
def networks():
    return {
        pooling: LossNetwork(pooling=pooling, precision="float32", device="cpu")
        for pooling in ("max", "average")
    }


def test_matrices_and_distances_are_the_packages(visit, server, networks):
    """Of the two pictures on the screen, shuffled by a link, within a thousandth: both
    distances, and an entry of either matrix. At relu3_3 the graph takes means.
    """
    state = "?side=96#layer=relu1_2&tile=24&seed=5&cell=2-7&picture=poppies"
    page = open_gram(visit, server, state)
    said = settled(page)
    shown = [pixels(page, f"#{name}") for name in ("original", "changed")]
    assert shown[0].shape == shown[1].shape == (1, 3, 96, 96)
    assert not torch.equal(*shown)
    for layer in ("relu1_2", "relu2_2", "relu3_3"):
        if layer != "relu1_2":
            said = after(page, lambda name=layer: page.select_option("#layer", name))
        network = networks["average" if layer == "relu3_3" else "max"]
        original, copy = (network(picture, [layer])[layer] for picture in shown)
        style = style_loss(copy, original, normalization="relative")
        feature = feature_loss(copy, original, normalization="relative")
        assert float(said["style"]) == pytest.approx(float(style), CLOSE)
        assert float(said["feature"]) == pytest.approx(float(feature), CLOSE)
        first, second = map(int, said["pair"].split())
        loudest = gram_matrix(original)[0].diagonal().argsort(descending=True)
        assert [first, second] == [int(loudest[2]), int(loudest[7])]
        for name, features in (("before", original), ("after", copy)):
            entry = float(gram_matrix(features)[0, first, second])
            assert float(said[name]) == pytest.approx(entry, CLOSE), (name, layer)


def test_shuffled_tiles_cost_features_and_paint_costs_both(visit, server):
    """The shuffle moves whole tiles and loses none; features are off by far more than
    the matrix. Paint, which is no shuffle, moves the matrix too; reset brings all back.
    Cells are chosen and paint is laid by keyboard too, and the link keeps the cell.
    """
    page = open_gram(visit, server, "?side=96#layer=relu1_2&tile=24&seed=0")
    said = settled(page)
    assert [float(said["style"]), float(said["feature"])] == [0, 0]
    whole = pixels(page, "#original")
    said = after(page, lambda: page.click("#shuffle"))
    style, feature = float(said["style"]), float(said["feature"])
    assert feature > 0.3
    assert feature > 10 * style > 0
    assert "times less" in page.inner_text("#verdict")

    def tiles(image):
        cut = torch.nn.functional.unfold(image, 24, stride=24)[0].T
        return sorted(tuple(tile) for tile in cut.tolist())

    moved = pixels(page, "#changed")
    assert tiles(moved) == tiles(whole)
    again = after(page, lambda: page.click("#shuffle"))
    assert again["feature"] != said["feature"]  # another seed
    box = page.locator("#changed").bounding_box()

    def paint():
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 150, box["y"] + 120, steps=4)
        page.mouse.up()

    before = pixels(page, "#changed")
    painted = after(page, paint)
    assert float(painted["style"]) > 3 * float(again["style"])
    differs = (pixels(page, "#changed") - before).abs().sum(1) > 0
    assert 0.03 < float(differs.float().mean()) < 0.5
    assert page.inner_text("#words") == "tiles of 24 pixels, shuffled, painted on"
    said = after(page, lambda: page.click("#reset"))
    assert torch.equal(pixels(page, "#changed"), whole)
    assert [float(said["style"]), float(said["feature"])] == [0, 0]
    pair = said["pair"]
    page.focus("#before")
    said = after(page, lambda: page.keyboard.press("ArrowDown"))
    assert said["pair"] != pair
    assert said["pair"].split()[1] == pair.split()[1]
    assert "row 3, column 1" in page.get_attribute("#after", "aria-label")
    page.wait_for_function("() => location.hash.includes('cell=2-0')")
    box = page.locator("#after").bounding_box()

    def click():
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.1)

    said = after(page, click)
    assert "row 7, column 33" in page.get_attribute("#before", "aria-label")
    names = page.locator("#maps figcaption").all_inner_texts()
    first, second = said["pair"].split()
    assert names[0] == f"channel {first} (original)"
    assert names[4] == f"channel {second} (copy)"
    assert page.evaluate("document.querySelector('#maps canvas').width") == 96
    page.focus("#changed")
    before = pixels(page, "#changed")
    page.keyboard.press("ArrowRight")
    after(page, lambda: page.keyboard.press(" "))
    differs = (pixels(page, "#changed") - before).abs().sum(1)[0] > 0
    assert differs.any()
    rows, columns = differs.nonzero().T
    assert abs(float(columns.float().mean()) - 52) < 1.5
    assert abs(float(rows.float().mean()) - 48) < 1.5


def test_gram_waits_for_a_hand_and_takes_a_picture_of_hers(visit, folder):
    """Within a page of the book, on a phone."""
    phone = {"width": 390, "color_scheme": "dark", "has_touch": True}
    served = Server(folder)
    try:
        page = open_gram(visit, served, "?in=book&side=64", **phone)
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        choose(page, "mine.png", png(picture(150, 120)))
        page.wait_for_function("() => document.querySelector('#samples').value === ''")
        page.click("#shuffle")
        assert float(settled(page)["feature"]) > 0
        assert {path.partition("?")[0] for path in served.asked if "onnx" in path} == {
            "/live/models/vgg_features.onnx"
        }
        fits(page, "dark")
    finally:
        served.stop()


# --- chapter 12: an eye against the judges --------------------------------------------


def open_eye(visit, server, state: str = "?side=96", **how):
    page = visit(f"{server.origin}live/eye.html{state}", done=False, **how)
    page.wait_for_function("() => document.querySelectorAll('#copies canvas').length")
    return page


def put_in_order(page, kinds: list[str]) -> None:
    for kind in kinds:
        page.click(f'[data-kind="{kind}"]')


def complete(page) -> None:
    page.wait_for_function(f"() => {ROOT_DATA}.complete === 'yes'", timeout=60_000)


def spearman(one: list[str], other: list[str]) -> float:
    """By its definition: Pearson's correlation of the ranks."""
    ranks = torch.tensor(
        [[order.index(kind) for kind in one] for order in (one, other)]
    )
    return float(torch.corrcoef(ranks.double())[0, 1])


def test_copies_have_one_error_and_judges_order_them_as_the_package_does(
    visit, server, networks
):
    """Each copy's squared error is the same to 0.2 percent, of the pixels shown; the
    judges' orders and their correlations are computed anew. The link gives the order
    to somebody else, whose own comes first.
    """
    page = open_eye(visit, server)
    kinds = page.evaluate(
        "[...document.querySelectorAll('#copies button')].map(b => b.dataset.kind)"
    )
    assert len(kinds) == 8
    whole = pixels(page, "#photo")
    shown = {kind: pixels(page, f'[data-kind="{kind}"] canvas') for kind in kinds}
    for kind, copy in shown.items():
        assert float(pixel_loss(copy, whole)) == pytest.approx(0.005, rel=2e-3), kind
    for one, other in itertools.combinations(shown.values(), 2):
        assert float(pixel_loss(one, other)) > 1e-4  # eight different pictures
    mine = sorted(kinds)
    put_in_order(page, mine[:7])  # the last is the only one left
    complete(page)
    page.click("#deeper")
    page.wait_for_function("() => document.querySelectorAll('#orders tr').length === 7")
    complete(page)
    means = networks["average"]
    features = networks["max"](whole, LAYERS) | means(whole, DEEP)
    expected = {"SSIM": {kind: -float(ssim(shown[kind], whole)) for kind in kinds}}
    for kind in kinds:
        found = networks["max"](shown[kind], LAYERS) | means(shown[kind], DEEP)
        for layer in (*LAYERS, *DEEP):
            loss = feature_loss(found[layer], features[layer], normalization="relative")
            expected.setdefault(layer, {})[kind] = float(loss)
    said = page.evaluate(
        "() => [...document.querySelectorAll('#orders tr')].map(row => "
        "[row.querySelector('th').innerText, "
        "[...row.querySelectorAll('li')].map(item => item.innerText), "
        "row.lastElementChild.innerText])"
    )
    words = page.locator("#orders tr:first-child li").all_inner_texts()
    named = dict(zip(words, mine, strict=True))
    assert [name for name, *_ in said] == ["you", "PSNR", "SSIM", *LAYERS, *DEEP]
    assert said[1][1:] == [[], "no order"]
    assert "23.0 dB" in page.inner_text("#orders tr:nth-child(2)")
    for name, order, agrees in said[2:]:
        judged = sorted(kinds, key=expected[name].get)
        assert [named[word] for word in order] == judged, name
        written = float(agrees.replace("−", "-"))
        assert written == pytest.approx(spearman(mine, judged), abs=0.0051)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#share")
    line = page.evaluate("navigator.clipboard.readText()")
    assert f"SSIM {said[2][2]}" in line
    link = line.rsplit(" ", 1)[1]
    assert link == f"{server.origin}live/eye.html#photo=pagoda&order={'-'.join(mine)}"
    page = open_eye(
        visit,
        server,
        "?side=96" + link[link.index("#") :],
        script="delete globalThis.WebAssembly",
    )
    put_in_order(page, mine[::-1][:7])
    page.wait_for_function("() => document.querySelectorAll('#orders tr').length === 7")
    assert "−1.00" in page.inner_text("#orders tr:nth-child(2)")


def test_an_order_is_made_by_keyboard_and_taken_back(visit, server):
    """On a narrow screen, without WebAssembly."""
    page = open_eye(
        visit,
        server,
        "?side=64",
        width=390,
        color_scheme="light",
        script="delete globalThis.WebAssembly",
    )
    assert "SSIM works without" in page.inner_text("#status")
    buttons = page.locator("#copies button")
    heard = page.locator("#copies .unseen")
    buttons.nth(0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press(" ")
    assert heard.nth(1).inner_text() == "Copy B, your number 2"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # taken back
    assert heard.nth(1).inner_text() == "Copy B, your number 1"
    assert buttons.nth(0).get_attribute("aria-pressed") == "false"
    for at in range(2, 8):
        buttons.nth(at).focus()
        page.keyboard.press("Enter")
    complete(page)  # A is the only one left
    assert page.locator("#orders tr").count() == 6
    assert "needs the network" in page.inner_text("#orders")
    fits(page, "light")
    page.click("#again")
    assert page.locator("#result").is_hidden()
    assert page.locator('[aria-pressed="true"]').count() == 0


def test_their_costs_are_recorded():
    """By `python -m benchmarks.labs`, with the bounds that it tells."""
    record = json.loads((ROOT / "benchmarks" / "labs.json").read_text())
    for name in (
        "gram, an update at 160 pixels, processor s",
        "gram, first answer, MB",
        "eye, eight answers, processor s",
        "eye, first answers, MB",
    ):
        assert record["values"][name] <= record["bounds"].get(name, float("inf"))
