"""The labs of chapters 9 and 11 in Chromium: faces, walks and samples are the
package's, by mouse, by keyboard and from a link.
"""

from __future__ import annotations

import json

import numpy
import pytest
import torch
from live import Server, browser, folder, server, visit
from test_axe import faults
from test_lab import pixels

from pltutorial import load_diffusion, load_faces, load_vae, sharpness
from pltutorial.flow import path, pictured

__all__ = ["browser", "folder", "server", "visit"]  # fixtures
CLOSE = 1e-3  # of pictures in [-1, 1], in float32, after all steps
SEEN = 1 / 255 + CLOSE  # what a canvas holds is rounded to 8 bits
DATA = "document.documentElement.dataset"
NAMES = ("pixel", "deepsim", "gan")
PHONE = {"width": 390, "color_scheme": "dark", "has_touch": True}


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


def fits(page, width: int = 390) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults(page) == []


def cut(sheet: torch.Tensor, columns: int) -> torch.Tensor:
    """The faces of a sheet (1, 3, H, W), row by row."""
    rows = sheet[0].unfold(1, 48, 48).unfold(2, 48, 48)  # (3, rows, columns, 48, 48)
    assert rows.shape[2] == columns
    return rows.permute(1, 2, 0, 3, 4).flatten(0, 1)


# --- chapter 11: from noise to faces --------------------------------------------------

SAMPLED = """async ({count, steps, heun, label, guidance}) => {
  const ort = await import("./ort/ort.wasm.min.mjs");
  const {flow} = await import("./faces_jobs.js");
  const {normals} = await import("./sampler.js");
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const facts = (await fetch("models/labs.json").then(r => r.json())).flow;
  const bytes = await fetch("models/" + facts.file).then(r => r.arrayBuffer());
  const session = await ort.InferenceSession.create(
    new Uint8Array(bytes), {executionProviders: ["wasm"]});
  const run = (feeds) => session.run(Object.fromEntries(Object.entries(feeds)
    .map(([name, [data, dims]]) => [name, new ort.Tensor("float32", data, dims)])));
  const {size, classes: {length: classes}} = facts;
  const noise = normals(7, count * 3 * size * size);
  let x = noise;
  for (let step = 0; step < steps; step++) {
    const [t, after] = [step / steps, (step + 1) / steps];
    const job = {x, size, classes, label, guidance, t, after, heun};
    x = (await flow(job, run)).step.x;
  }
  return {noise: [...noise], x: [...x]};
}"""


def walked(network, noise, *, steps, heun=False, label=5, guidance=1.0):
    """The package's sampler."""
    labels = torch.full((len(noise),), label)

    def denoise(x_t, t):
        told = network(x_t, t, labels)
        if guidance == 1:
            return told
        plain = network(x_t, t)
        return plain + guidance * (told - plain)

    with torch.no_grad():
        *_, (_, x) = path(denoise, noise, steps, "heun" if heun else "euler")
    return x


@pytest.mark.parametrize(
    "how",
    [
        {"count": 2, "steps": 25},
        {"count": 1, "steps": 8, "heun": True, "label": 2, "guidance": 2.5},
    ],
)
def test_the_sampler_in_the_browser_is_pytorchs(visit, server, how):
    """The shipped file in the shipped runtime, with the lab's own steps and noise: what
    25 steps end at lies within a thousandth of what PyTorch makes of the same noise.
    """
    how = {"heun": False, "label": 5, "guidance": 1.0} | how
    page = visit(f"{server.origin}live/diffusion.html?in=book", done=False)
    said = page.evaluate(SAMPLED, how)
    shape = (how["count"], 3, 48, 48)
    noise, x = (torch.tensor(said[name]).view(shape) for name in ("noise", "x"))
    assert abs(float(noise.std()) - 1) < 0.03
    network = load_diffusion(device="cpu").eval()
    how.pop("count")
    expected = walked(network, noise, **how)
    assert float(expected.std()) > 0.3
    assert largest(x, expected) < CLOSE


def open_diffusion(visit, server, state: str = "?in=book", **how):
    page = visit(f"{server.origin}live/diffusion.html{state}", done=False, **how)
    page.wait_for_function("() => !document.querySelector('#go').disabled")
    return page


def complete(page) -> None:
    page.wait_for_function(f"() => {DATA}.complete === 'yes'", timeout=120_000)


NOISE = """async () => {
  const {normals} = await import("./sampler.js");
  return [...normals(3, 4 * 3 * 48 * 48)];
}"""


def test_a_walk_from_a_link_is_the_packages(visit, server):
    """Four faces with red hair in two steps: where they end, what was answered at
    either step, and how sharp the answers are.
    """
    state = "#steps=2&solver=euler&hair=auburn&faces=4&guidance=2&seed=3"
    page = open_diffusion(visit, server, state)
    complete(page)
    noise = torch.tensor(page.evaluate(NOISE)).view(4, 3, 48, 48)
    network = load_diffusion(device="cpu").eval()
    expected = pictured(walked(network, noise, steps=2, label=2, guidance=2.0))
    assert largest(cut(pixels(page, "#noisy"), 2), expected) < SEEN
    share = float(page.evaluate(f"{DATA}.sharp"))
    real = float(sharpness(load_faces("test").pictures).mean())
    assert share == pytest.approx(100 * float(sharpness(expected).mean()) / real, 2e-2)
    page.focus("#position")
    page.keyboard.press("Home")
    assert "Step 0 of 2, t = 0.00" in page.inner_text("#words")
    assert largest(cut(pixels(page, "#noisy"), 2), pictured(noise)) < SEEN
    first = pictured(walked(network, noise, steps=1, label=2, guidance=2.0))
    assert largest(cut(pixels(page, "#estimate"), 2), first) < SEEN
    page.keyboard.press("ArrowRight")
    assert "t = 0.50" in page.inner_text("#words")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#link")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{server.origin}live/diffusion.html{state}"


def test_one_step_is_a_mean_and_more_by_hand(visit, folder):
    """On a phone, in a page of the book: nothing is fetched before a hand asks. One
    step by key, then paused, then to the end; other noise begins anew.
    """
    served = Server(folder)
    try:
        page = open_diffusion(visit, served, **PHONE)
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        page.select_option("#faces", "1")
        page.select_option("#steps", "4")
        assert page.locator("#guidance").is_disabled()
        page.focus("#one")
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => {DATA}.step === '1' && {DATA}.going === 'no'")
        assert "t = 0.00" in page.inner_text("#words")
        blurred = float(page.evaluate(f"{DATA}.sharp"))
        assert page.inner_text("#go") == "Go on"
        page.click("#go")
        complete(page)
        assert float(page.evaluate(f"{DATA}.sharp")) > 1.5 * blurred
        assert page.locator("#one").is_disabled()
        page.click("#other")
        assert page.inner_text("#go") == "Draw"
        assert "not asked yet" in page.inner_text("#words")
        page.wait_for_function("() => location.hash.includes('seed=2')")
        assert {path.partition("?")[0] for path in served.asked if "onnx" in path} == {
            "/live/models/flow.onnx"
        }
        fits(page)
    finally:
        served.stop()


# --- chapter 9: between faces, and new ones -------------------------------------------


def open_faces(visit, server, state: str = "?in=book", **how):
    page = visit(f"{server.origin}live/faces.html{state}", done=False, **how)
    page.wait_for_function(f"() => {DATA}.begun")
    return page


def settled(page) -> None:
    page.wait_for_function(f"() => {DATA}.settled === 'yes'", timeout=60_000)


@pytest.fixture(scope="module")
def codes(folder):
    return json.loads((folder / "live" / "models" / "faces.json").read_text())


@pytest.fixture(scope="module")
def decoders():
    return {name: load_vae(name, device="cpu").eval() for name in NAMES}


def test_faces_are_decoded_from_their_codes(visit, server, decoders):
    """A link with a point, long hair and half a beard: the codes are those of the
    faces at the corners, found anew, and the vectors those of chapter 9.
    """
    state = "#four=0&x=0.25&y=0.75&add=1.5_0_0_-0.5_0_0&seed=0&from=prior"
    page = open_faces(visit, server, f"{state}&spread=1&network=deepsim")
    settled(page)
    known, unseen = load_faces("train"), load_faces("test")
    ends = unseen.pictures[[0, 3, 7, 4]]
    shares = torch.tensor([0.75 * 0.25, 0.25 * 0.25, 0.75 * 0.75, 0.25 * 0.75])
    mixed = (shares.view(4, 1, 1, 1) * ends).sum(0, keepdim=True)
    assert largest(pixels(page, "#mixed"), mixed) < SEEN

    def arrow(mean, attribute, value):
        words, values = known.names[attribute], known.attributes[attribute]
        with_it, none = (values == words.index(word) for word in (value, "none"))
        return mean[with_it].mean(0) - mean[none].mean(0)

    for name, network in decoders.items():
        with torch.no_grad():
            mean, code = network.encode(known.pictures)[0], network.encode(ends)[0]
            code = (shares[:, None] * code).sum(0)
            code = code + 1.5 * arrow(mean, "rear_hair", "long straight")
            code = code - 0.5 * arrow(mean, "beard", "full beard")
            expected = network.decode(code[None])
        assert largest(pixels(page, f"#{name}"), expected) < SEEN + 2e-3, name
    page.click("#zero")
    settled(page)
    page.wait_for_function("() => location.hash.includes('add=0_0_0_0_0_0')")


def test_a_corner_is_reached_by_keyboard_and_by_finger(visit, folder, decoders):
    """On a phone, in a page of the book, where nothing is fetched before a hand moves
    something: at the corner every network gives the corner's face back.
    """
    served = Server(folder)
    try:
        page = open_faces(visit, served, **PHONE)
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        page.focus("#pad")
        for key in ("ArrowLeft", "ArrowUp"):
            for _ in range(10):
                page.keyboard.press(key)
        settled(page)
        assert "0 percent to the right and 0 percent" in page.get_attribute(
            "#pad", "aria-label"
        )
        face = load_faces("test").pictures[:1]
        assert largest(pixels(page, "#mixed"), face) < SEEN
        for name, network in decoders.items():
            with torch.no_grad():
                again = network.decode(network.encode(face)[0])
            assert largest(pixels(page, f"#{name}"), again) < SEEN + 2e-3, name
        box = page.locator("#pad").bounding_box()
        x, y = box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"]
        page.touchscreen.tap(x, y)
        page.wait_for_function("() => /x=0.80&y=0.30/.test(location.hash)")
        settled(page)
        fits(page)
    finally:
        served.stop()


def test_64_faces_from_the_prior_and_from_the_fitted_gaussian(
    visit, server, codes, decoders
):
    """The same draws for all networks, decoded as the package does; the Gaussian in the
    file is the one that chapter 9 fits.
    """
    page = open_faces(visit, server)
    page.click("#draw")
    page.wait_for_function(f"() => {DATA}.drawn")
    draws = """async () => {
      const {normals} = await import("./sampler.js");
      return [...normals(1, 64 * 32)];
    }"""
    z = torch.tensor(page.evaluate(draws)).view(64, 32)
    with torch.no_grad():
        expected = decoders["deepsim"].decode(z)
    assert largest(cut(pixels(page, "#sheet"), 8), expected) < SEEN
    page.check('[name="network"][value="gan"]')
    page.select_option("#source", "fitted")
    page.wait_for_function(
        "() => document.querySelector('#drawn').textContent.includes('fitted')"
    )
    said = codes["networks"]["gan"]
    factor = torch.zeros(32, 32)
    factor[torch.tril_indices(32, 32).unbind()] = torch.tensor(said["factor"])
    mean = torch.tensor(said["mean"])
    with torch.no_grad():
        expected = decoders["gan"].decode(mean + z @ factor.T)
        found, log_variance = decoders["gan"].encode(load_faces("train").pictures)
    assert largest(cut(pixels(page, "#sheet"), 8), expected) < SEEN + 2e-3
    cloud = found.T.cov() + log_variance.exp().mean(0).diag()
    assert largest(factor @ factor.T, cloud) < 1e-3
    assert largest(mean, found.mean(0)) < 1e-3


@pytest.mark.parametrize("name", ["faces", "diffusion"])
def test_without_webassembly_there_is_one_sentence(visit, server, name):
    """And on a wide screen in the light no serious fault for axe-core."""
    page = visit(
        f"{server.origin}live/{name}.html",
        done=False,
        script="delete globalThis.WebAssembly",
        color_scheme="light",
    )
    page.wait_for_function(
        "() => document.querySelector('#status').innerText.includes('WebAssembly')"
    )
    if name == "faces":
        assert float(pixels(page, "#mixed").std()) > 0.1
    else:
        assert page.locator("#go").is_disabled()
    fits(page, 1280)


def test_the_random_direction_is_as_long_as_long_hair(codes):
    assert [codes["names"][0], codes["names"][-1]] == ["long hair", "random direction"]
    for known in codes["networks"].values():
        first, *_, last = (numpy.linalg.norm(v) for v in known["vectors"])
        assert last == pytest.approx(first, 1e-3)
