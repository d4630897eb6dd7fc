"""The labs of chapters 2, 5 and 8 in Chromium: pictures that are drawn of codes are the
package's, by mouse, by keyboard and from a link.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from live import Server, browser, folder, picture, png, server, visit
from test_axe import faults
from test_lab import pixels

from pltutorial import (
    LossNetwork,
    bundled,
    feature_loss,
    load_inverter,
    pixel_loss,
    read_image,
    reencode,
    restyle,
    style_loss,
)
from pltutorial.tasks.restyle import prepared

__all__ = ["browser", "folder", "server", "visit"]  # fixtures
CLOSE = 1e-3  # of [0, 1]: float32 in two runtimes
SEEN = CLOSE + 0.5 / 255  # on the screen there are 8 bits
DATA = "document.documentElement.dataset"
SETTLED = f"() => {DATA}.settled === 'yes'"
WORK = """async ({job, models}) => {
  const facts = await fetch("models/labs.json").then(r => r.json());
  const {features, relu3_3, relu4_3} = facts;
  const stages = [
    features, {...relu3_3, layers: ["relu3_3"]}, {...relu4_3, layers: ["relu4_3"]}];
  const planes = ({width, height, data}) =>
    ({width, height, data: Float32Array.from(data)});
  const given = Object.fromEntries(Object.entries(job).map(([name, value]) =>
    [name, value.data ? planes(value) : value]));
  for (const [name, model] of Object.entries(models)) {
    given[name] = typeof model === "string" ? facts[model] :
      Object.fromEntries(Object.entries(model).map(([key, one]) => [key, facts[one]]));
  }
  const worker = new Worker("worker.js", {type: "module"});
  try {
    const outcome = await new Promise((resolve, reject) => {
      worker.onmessage = ({data}) => {
        if (data.type === "result") resolve(data.outcome);
        if (data.type === "problem") reject(new Error(data.message));
      };
      worker.postMessage({id: 1, job: {...given, stages}});
    });
    const {width, height, data} = outcome.planes;
    return {size: [height, width], data: [...data], losses: outcome.losses};
  } finally { worker.terminate(); }
}"""


def planes(image: torch.Tensor) -> dict:
    height, width = image.shape[-2:]
    return {"width": width, "height": height, "data": image.flatten().tolist()}


def worked(page, models: dict, **job) -> tuple[torch.Tensor, list[float]]:
    """What the page's worker makes of a job, before it is rounded for the screen."""
    said = page.evaluate(WORK, {"job": job, "models": models})
    made = torch.tensor(said["data"]).view(1, 3, *said["size"])
    return made, said["losses"]


@pytest.fixture(scope="module")
def network():
    return LossNetwork(precision="float32", device="cpu")


@pytest.fixture(scope="module")
def photo():
    """Its sides are no multiples of a code's stride."""
    return read_image(bundled("content/pagoda"), 96)[..., 5:66, 3:81].contiguous()


@pytest.fixture
def bench(visit, server):
    """A page of the labs, from which jobs are given to the worker."""
    return visit(f"{server.origin}live/knows.html?in=book&side=64", done=False)


def after(page, action) -> None:
    """Something done, and its answer waited for."""
    page.evaluate(f"() => {{ {DATA}.settled = ''; }}")
    action()
    page.wait_for_function(SETTLED)


def fits(page, scheme: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(f"{DATA}.theme") == scheme
    assert faults(page) == []


# --- what a layer still knows ---------------------------------------------------------


@pytest.mark.parametrize(("layer", "loss"), [("relu3_3", "deepsim")])
def test_a_round_is_the_packages(bench, network, photo, layer, loss):
    """Two rounds, the second from what the first has drawn; squared error and the
    distance of features at each layer.
    """
    drawer = load_inverter(layer, loss, device="cpu")
    rounds = reencode(photo, 2, drawer, encoder=network, precision="float32")
    judges = ["relu1_2", "relu2_2", "relu3_3"]
    features = network(photo, judges)
    given = photo
    for drawn in rounds:
        found, losses = worked(
            bench,
            {"drawer": f"invert_{layer}_{loss}"},
            type="knows",
            key="1",
            photo=planes(photo),
            picture=planes(given),
            layer=layer,
            judges=judges,
        )
        assert found.shape == drawn.shape == photo.shape
        assert float((found - drawn).abs().max()) < CLOSE
        ours = network(drawn, judges)
        expected = [float(pixel_loss(drawn, photo))] + [
            float(feature_loss(ours[at], features[at], normalization="relative"))
            for at in judges
        ]
        assert losses == pytest.approx(expected, 2e-3)
        given = drawn


def test_the_deeper_layer_is_the_packages(bench, network, photo):
    drawer = load_inverter("relu4_3", "image", device="cpu")
    (drawn,) = reencode(photo, 1, drawer, encoder=network, precision="float32")
    found, _ = worked(
        bench,
        {"drawer": "invert_relu4_3_image"},
        type="knows",
        key="1",
        photo=planes(photo),
        picture=planes(photo),
        layer="relu4_3",
        judges=["relu1_2"],
    )
    assert float((found - drawn).abs().max()) < CLOSE


def test_rounds_by_link_by_mouse_and_by_keyboard(visit, server, network):
    """A link brings two rounds; a click one more, a key one more; another way to draw
    begins anew; and moved pixels come nearer than either at a shallow layer.
    """
    address = f"{server.origin}live/knows.html?side=80"
    page = visit(f"{address}#photo=coffee&layer=relu3_3&by=image&round=2", done=False)
    page.wait_for_function(SETTLED)
    assert page.evaluate(f"{DATA}.round") == "2"
    before, shown = (pixels(page, f"canvas.{name}") for name in ("before", "after"))
    drawer = load_inverter("relu3_3", "image", device="cpu")
    drawn = reencode(before, 3, drawer, encoder=network, precision="float32")
    assert float((shown - drawn[1]).abs().max()) < SEEN
    after(page, lambda: page.click("#go"))
    assert float((pixels(page, "canvas.after") - drawn[2]).abs().max()) < SEEN
    assert "After 3 rounds" in page.inner_text("#verdict")
    assert page.locator("#judges tr").count() == 4
    page.wait_for_function("() => location.hash.endsWith('by=image&round=3')")
    assert "256 channels" in page.inner_text("#code")
    page.focus("[role=slider]")
    page.keyboard.press("ArrowLeft")
    heard = page.get_attribute("[role=slider]", "aria-valuetext")
    assert heard == "48 % photo, 52 % drawing"
    page.focus("#go")
    after(page, lambda: page.keyboard.press("Enter"))
    assert page.evaluate(f"{DATA}.round") == "4"
    page.click("#first")
    assert torch.equal(pixels(page, "canvas.after"), before)
    page.select_option("#layer", "relu1_2")
    assert page.locator("#way option").all_inner_texts() == ["40 steps on the pixels"]
    after(page, lambda: page.click("#go"))
    moved = pixels(page, "canvas.after")
    features = network(before, ["relu1_2"])["relu1_2"]
    far = [
        float(
            feature_loss(network(one, ["relu1_2"])["relu1_2"], features)
            / features.square().mean()
        )
        for one in (moved, drawn[0])
    ]
    assert far[0] < far[1] / 2


def test_knows_waits_for_a_hand_and_says_what_lacks(visit, folder):
    """Within a page of the book on a phone, with a photo of hers; and without
    WebAssembly.
    """
    served = Server(folder)
    phone = {"width": 390, "color_scheme": "dark", "has_touch": True}
    try:
        address = f"{served.origin}live/knows.html?in=book&side=64"
        page = visit(address, done=False, **phone)
        page.wait_for_function("() => !document.querySelector('#go').disabled")
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        mine = {"name": "mine.png", "mimeType": "", "buffer": png(picture(120, 90))}
        page.set_input_files("#file", mine)
        page.wait_for_function("() => document.querySelector('#samples').value === ''")
        after(page, lambda: page.tap("#go"))
        assert pixels(page, "canvas.after").shape == (1, 3, 48, 64)
        fetched = {
            path.rpartition("/")[2].partition("?")[0]
            for path in served.asked
            if ".onnx" in path
        }
        assert fetched == {
            "vgg_features.onnx",
            "vgg_relu3_3.onnx",
            "invert_relu3_3_deepsim.onnx",
        }
        fits(page, "dark")
        script = "delete globalThis.WebAssembly"
        for name in ("knows", "restyle"):
            page = visit(f"{served.origin}live/{name}.html", done=False, script=script)
            page.wait_for_function(
                "() => document.querySelector('#status').innerText"
                ".includes('WebAssembly is switched off')"
            )
            assert page.locator("#go").is_disabled()
    finally:
        served.stop()


# --- any painting in one pass ---------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "statistics", "share"),
    [
        (["relu3_3"], "covariance", 0.6),
        (["relu3_3"], "deviation", 1.0),
        (["relu4_3", "relu3_3"], "covariance", 0.6),
    ],
)
def test_restyled_is_the_packages(bench, photo, layers, statistics, share):
    """`restyle` with all decoders, or with the shallower alone."""
    style = read_image(bundled("style/great_wave"), 120)
    painting = prepared(style, None, "float32", "cpu")
    kept = {layer: painting.decoders[layer] for layer in layers}
    painting = dataclasses.replace(painting, decoders=kept)
    expected = restyle(photo, painting, statistics=statistics, share=share)
    found, _ = worked(
        bench,
        {"decoders": {layer: f"decode_{layer}" for layer in layers}},
        type="restyle",
        key="1",
        style="1",
        photo=planes(photo),
        painting=planes(style),
        layers=layers,
        statistics=statistics,
        share=share,
    )
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < CLOSE


def test_any_painting_by_hand(visit, folder, network):
    """Within the book it waits; then a click, a share by keyboard, other strokes, and a
    painting of hers. The whole share is nearer to the painting than none.
    """
    served = Server(folder)
    phone = {"width": 390, "color_scheme": "light", "has_touch": True}
    try:
        address = f"{served.origin}live/restyle.html?in=book&side=80"
        page = visit(f"{address}#photo=coffee&stroke=96&share=95", done=False, **phone)
        page.wait_for_function("() => !document.querySelector('#go').disabled")
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        after(page, lambda: page.tap("#go"))
        page.focus("#share")
        after(page, lambda: page.keyboard.press("ArrowRight"))
        page.wait_for_function("() => location.hash.includes('share=100')")
        style, before, shown = (
            pixels(page, name)
            for name in ("#painting", "canvas.before", "canvas.after")
        )
        assert max(style.shape[-2:]) == 96
        painting = prepared(style, None, "float32", "cpu")
        only = {"relu3_3": painting.decoders["relu3_3"]}
        painting = dataclasses.replace(painting, decoders=only)
        whole = restyle(before, painting, share=1.0)
        assert float((shown - whole).abs().max()) < SEEN
        after(page, lambda: page.keyboard.press("Home"))
        none = pixels(page, "canvas.after")
        goal = network(style, ["relu2_2"])["relu2_2"]
        left = [
            float(style_loss(network(one, ["relu2_2"])["relu2_2"], goal))
            for one in (shown, none)
        ]
        assert left[0] < left[1]
        page.focus("#stroke")
        after(page, lambda: page.keyboard.press("ArrowLeft"))
        assert max(pixels(page, "#painting").shape[-2:]) == 64
        mine = {"name": "mine.png", "mimeType": "", "buffer": png(picture(90, 120))}
        after(page, lambda: page.set_input_files("#painting-file", mine))
        assert pixels(page, "#painting").shape == (1, 3, 64, 48)
        assert not torch.equal(pixels(page, "canvas.after"), none)
        assert not [path for path in served.asked if "relu4_3" in path]
        fits(page, "light")
    finally:
        served.stop()


def test_files_weigh_what_is_promised(folder):
    """To a first answer, without the runtime, and of the deeper layer."""
    models = folder / "live" / "models"
    facts = json.loads((models / "labs.json").read_text())
    for parts, bound in (
        (("features", "relu3_3", "invert_relu3_3_deepsim"), 4.1e6),
        (("features", "relu3_3", "decode_relu3_3"), 4.5e6),
        (("relu4_3", "invert_relu4_3_deepsim"), 13e6),
        (("relu4_3", "decode_relu4_3"), 14.7e6),
        (("pixels_relu2_2",), 0.56e6),
    ):
        sizes = [(models / facts[part]["file"]).stat().st_size for part in parts]
        assert sizes == [facts[part]["bytes"] for part in parts]
        assert sum(sizes) < bound, parts
