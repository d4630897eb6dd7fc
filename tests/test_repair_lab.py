"""The lab of chapter 7 in Chromium: both networks of either task compute what they
compute in PyTorch, by finger and by keyboard.
"""

from __future__ import annotations

import json

import pytest
import torch
from live import ROOT, Server, browser, choose, folder, picture, png, server, visit
from test_axe import faults
from test_lab import pixels

from pltutorial import (
    LossNetwork,
    bundled,
    feature_loss,
    psnr,
    read_image,
    style_loss,
    zoo,
)

__all__ = ["browser", "folder", "server", "visit"]  # fixtures
CLOSE = 1e-3  # of [0, 1]
DATA = "document.documentElement.dataset"
JOBS = """async ({image, mask, width, height}) => {
  const {createEngine} = await import("./engine.js");
  const {noisy} = await import("./repair_jobs.js");
  const facts = await fetch("models/labs.json").then(answer => answer.json());
  const engine = createEngine(() => new Worker("worker.js", {type: "module"}));
  const photo = {width, height, data: Float32Array.from(image)};
  const noise = noisy(photo, 50, 3);
  const made = {noise: [...noise.data]};
  for (const task of ["inpaint", "denoise"]) for (const loss of ["pixel", "combined"]) {
    const job = task === "inpaint"
      ? {photo, mask: Float32Array.from(mask)} : {photo: noise};
    const name = `${task}_${loss}`;
    const outcome = await engine.run({type: "repair", model: facts[name], ...job});
    made[name] = [...outcome.planes.data];
  }
  return made;
}"""


def open_repair(visit, server, state: str = "?side=96", **how):
    page = visit(f"{server.origin}live/repair.html{state}", done=False, **how)
    page.wait_for_function("() => document.querySelector('#words').innerText")
    return page


def settled(page, action=None) -> None:
    """Both networks and both judges have answered to what was done."""
    if action:
        page.evaluate(f"() => {{ {DATA}.settled = ''; }}")
        action()
    page.wait_for_function(f"() => {DATA}.settled === 'yes'")


def restorer(task: str, loss: str):
    return zoo.load_restorer(task, loss, device="cpu").float().eval()


def test_four_networks_are_pytorchs(visit, server):
    """The shipped files, worker and runtime on a photo of odd sides, with a mask or
    with noise of the page's own, within a thousandth.
    """
    photo = read_image(bundled("test/kodim23"), 96)[..., :61, :83].contiguous()
    mask = torch.zeros(1, 1, 61, 83)
    mask[..., 10:31, 20:44] = 1
    mask[..., 45:49, 5:80] = 1
    page = visit(f"{server.origin}live/repair.html?in=book", done=False)
    given = {"image": photo.flatten().tolist(), "mask": mask.flatten().tolist()}
    said = page.evaluate(JOBS, {**given, "width": 83, "height": 61})
    made = {
        name: torch.tensor(values).view(1, 3, 61, 83) for name, values in said.items()
    }
    noise = made.pop("noise")
    assert float((noise - photo).std()) == pytest.approx(50 / 255, rel=0.02)
    assert float(noise.min()) < -0.1  # not cut off, as in training
    assert len(made) == 4
    for name, output in made.items():
        task, loss = name.split("_")
        inputs = (photo, mask) if task == "inpaint" else (noise,)
        with torch.inference_mode():
            expected = restorer(task, loss)(*inputs).clamp(0, 1)
        assert float((output - expected).abs().max()) < CLOSE, name


def rows(page) -> dict[str, tuple[float, ...]]:
    """Decibels, features off by and matrix off by, of the rows that are shown."""
    said = page.evaluate(
        "() => [...document.querySelectorAll('#judged tr')].filter(row => !row.hidden)"
        ".map(row => [row.dataset.view, ...[...row.querySelectorAll('td')]"
        ".map(cell => parseFloat(cell.innerText.replace(/[^0-9.]/g, '')))])"
    )
    return {view: tuple(values) for view, *values in said}


def test_a_box_by_keyboard_is_filled_and_judged_as_the_package_does(visit, server):
    """The mask is known, so the fill is computed anew from the photo on the screen;
    known pixels stay, both judges say the package's numbers, and so does the sentence.
    """
    state = "?side=96#photo=coffee&left=photo&right=combined"
    page = open_repair(visit, server, state)
    settled(page)
    page.click("#clear")
    page.wait_for_function(
        "() => document.querySelector('#verdict').innerText.startsWith('Nothing')"
    )
    page.focus("#given")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    settled(page, lambda: page.keyboard.press(" "))
    photo, combined = (
        pixels(page, f"#compare .{side}") for side in ("before", "after")
    )
    page.select_option("#left", "pixel")
    pixel = pixels(page, "#compare .before")
    mask = torch.zeros(1, 1, *photo.shape[-2:])
    mask[..., 24:41, 28:45] = 1  # 17 pixels around row 32 and column 36
    share = f"{100 * float(mask.mean()):.1f} % missing"
    assert page.inner_text("#words") == share
    network = LossNetwork(precision="float32", device="cpu")
    target = network(photo, ["relu2_2"])["relu2_2"]
    losses = (feature_loss, style_loss)
    said = rows(page)
    assert list(said) == ["pixel", "combined"]
    expected = {}
    for name, shown in (("pixel", pixel), ("combined", combined)):
        with torch.inference_mode():
            made = restorer("inpaint", name)(photo, mask).clamp(0, 1)
        assert float((shown - made).abs().max()) < CLOSE + 0.5 / 255
        assert torch.equal(shown * (1 - mask), photo * (1 - mask))
        error = float(((shown - photo).square() * mask).sum() / (3 * mask.sum()))
        found = network(shown, ["relu2_2"])["relu2_2"]
        off = [float(loss(found, target, normalization="relative")) for loss in losses]
        decibels = -10 * torch.tensor(error).log10()
        assert said[name][0] == pytest.approx(float(decibels), abs=0.0051)
        assert said[name][1:] == pytest.approx(off, rel=0.0051)
        expected[name] = float(decibels), off[1]
    verdict = page.inner_text("#verdict")
    gap = expected["combined"][0] - expected["pixel"][0]
    if abs(gap) > 0.06:
        nearer = "combined" if gap > 0 else "pixel"
        assert f"In pixels the {nearer} loss is nearer, by {abs(gap):.1f} dB" in verdict
    ratio = expected["combined"][1] / expected["pixel"][1]
    if max(ratio, 1 / ratio) > 1.06:
        nearer = "combined" if ratio < 1 else "pixel"
        assert f"in the Gram matrix the {nearer} loss is nearer" in verdict
    page.focus("#given")
    page.keyboard.press("Backspace")
    page.wait_for_function(
        "() => document.querySelector('#words').innerText[0] === '0'"
    )


def test_noise_is_cleaned_and_a_link_keeps_its_strength(visit, server):
    """Each row's PSNR is the package's, of what is shown; both networks gain."""
    page = open_repair(visit, server, "?side=96#task=noise&sigma=40&left=given")
    settled(page)
    said = rows(page)
    given, combined = (
        pixels(page, f"#compare .{side}") for side in ("before", "after")
    )
    assert torch.equal(given, pixels(page, "#given"))
    page.select_option("#left", "photo")
    photo = pixels(page, "#compare .before")
    for name, shown in (("given", given), ("combined", combined)):
        value = float(psnr(shown, photo, channel="rgb"))
        assert said[name][0] == pytest.approx(value, abs=0.0051)
    assert min(said["pixel"][0], said["combined"][0]) > said["given"][0] + 3
    page.focus("#sigma")
    settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.inner_text("#words") == "noise of σ = 41"
    page.wait_for_function("() => location.hash.includes('task=noise&sigma=41')")
    handle = page.locator("#compare [role=slider]")
    handle.focus()
    page.keyboard.press("Home")
    assert (
        handle.get_attribute("aria-valuetext") == "0 % The photo, 100 % Combined loss"
    )


def test_in_the_book_it_waits_for_a_finger(visit, folder):
    """On a phone, in the dark, with a photo of the reader's own; a stroke fetches the
    two networks of its task alone, and can be taken back.
    """
    served = Server(folder)
    phone = {"width": 390, "color_scheme": "dark", "has_touch": True}
    try:
        page = open_repair(visit, served, "?in=book&side=64", **phone)
        choose(page, "mine.png", png(picture(150, 120)))
        page.wait_for_function("() => document.querySelector('#given').height === 51")
        assert not [path for path in served.asked if "ort/" in path or "onnx" in path]
        whole = page.inner_text("#words")
        box = page.locator("#given").bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 150, steps=4)
        settled(page, page.mouse.up)
        assert {path.partition("?")[0] for path in served.asked if "onnx" in path} == {
            f"/live/models/{name}.onnx"
            for name in ("inpaint_pixel", "inpaint_combined", "vgg_features")
        }
        missing = float(page.inner_text("#words").split()[0])
        assert missing > float(whole.split()[0]) + 2
        page.click("#undo")
        assert page.inner_text("#words") == whole
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate(f"{DATA}.theme") == "dark"
        assert faults(page) == []
    finally:
        served.stop()


def test_without_webassembly_one_sentence(visit, server):
    """Holes can be cut, and nothing is promised."""
    page = open_repair(visit, server, script="delete globalThis.WebAssembly")
    page.wait_for_function(
        "() => document.querySelector('#status').innerText.includes('WebAssembly')"
    )
    whole = page.inner_text("#words")
    page.click("#more")
    assert page.inner_text("#words") != whole
    assert page.locator("#problem").is_hidden()


def test_its_cost_is_recorded():
    """By `python -m benchmarks.labs`, with the bounds that it tells."""
    record = json.loads((ROOT / "benchmarks" / "labs.json").read_text())
    for name in (
        "repair, first answer, MB",
        "repair, holes at 256 pixels, processor s",
    ):
        assert record["values"][name] <= record["bounds"][name]
