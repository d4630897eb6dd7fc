"""One ONNX file in several runtimes, each on one thread in a process of its own: how
far its print is from PyTorch's, and seconds of processor time beside PyTorch's.

onnxruntime and, for the browser's WebAssembly, Chromium and the packages of `make site`
come with the project's development. OpenVINO and OpenCV do not; they are looked for in
the folder that PLTUTORIAL_RUNTIMES names:

    pip install --target FOLDER openvino opencv-python-headless
    PLTUTORIAL_RUNTIMES=FOLDER python -m benchmarks.production --part runtimes

What is not there is named in one sentence, and left out.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

ROOT = Path(__file__).parents[2]
NETWORK, PHOTO, SIDES, ROUNDS, RUNS = "great_wave", "content/pagoda", (256, 512), 3, 3
EXTRA = os.environ.get("PLTUTORIAL_RUNTIMES", "")
PACKAGES = {
    "pytorch": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "openvino_float32": "openvino",
    "opencv": "cv2",
    "browser": "playwright",
}


def measured() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        return _measured(Path(folder))


def _measured(folder: Path) -> dict:
    from pltutorial import bundled, read_image, zoo
    from pltutorial.images import middle_square
    from pltutorial.onnx.export import export_onnx

    network = zoo.load_style(NETWORK, "cpu").only(NETWORK)
    model = export_onnx(network, folder / "model.onnx")
    photo = read_image(bundled(PHOTO))
    for side in SIDES:
        numpy.save(folder / f"image_{side}.npy", middle_square(photo, side).numpy())
    found, missing = {}, {}
    for _ in range(ROUNDS):  # in turns: what else the machine does meets all of them
        for name in PACKAGES:
            if name in missing:
                continue
            made = one_side(name, folder)
            if isinstance(made, str):
                missing[name] = made
                print(f"{name}: {made}", file=sys.stderr)
            else:
                found.setdefault(name, []).append(made)
    return {
        "network": NETWORK,
        "file_bytes": model.stat().st_size,
        "rows": [
            row(name, side, found, folder)
            for name in found
            if name not in missing
            for side in SIDES
        ],
        "left_out": missing,
    }


def row(name: str, side: int, found: dict[str, list[dict]], folder: Path) -> dict:
    """One runtime at one size beside PyTorch."""

    def seconds(of: str) -> float:
        return statistics.median(one["seconds"][str(side)] for one in found[of])

    made, right = (
        numpy.load(folder / f"{of}_{side}.npy").astype(numpy.float64).clip(0, 1)
        for of in (name, "pytorch")
    )
    difference = 255 * numpy.abs(made - right)
    return {
        "runtime": name,
        "version": found[name][0]["version"],
        "side": side,
        "largest": round(float(difference.max()), 3),
        "mean": round(float(difference.mean()), 4),
        "seconds": round(seconds(name), 3),
        "seconds_ratio": round(seconds(name) / seconds("pytorch"), 2),
    }


def one_side(name: str, folder: Path) -> dict | str:
    """What a runtime does in a process of its own; a sentence where it does not."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "benchmarks.production.runtimes", name, folder]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        return last[:300]
    return json.loads(done.stdout.splitlines()[-1])


# --- the sides ------------------------------------------------------------------------


def side_of(name: str, folder: Path) -> dict:
    """Runs in the process of its own: prints of all sizes into files, and seconds."""
    if EXTRA:
        sys.path.append(EXTRA)
    try:
        package = importlib.import_module(PACKAGES[name])
    except ImportError:
        sys.exit(
            f"{PACKAGES[name]} is not installed; install it into a folder and name "
            "that in PLTUTORIAL_RUNTIMES, see benchmarks/production/runtimes.py"
        )
    if name == "browser":
        return browser(folder)
    prepare, seconds = SIDES_OF[name](folder / "model.onnx"), {}
    for side in SIDES:
        image = numpy.load(folder / f"image_{side}.npy")
        run = prepare(image)
        numpy.save(folder / f"{name}_{side}.npy", run())
        taken = []
        for _ in range(RUNS):
            begin = time.process_time()
            run()
            taken.append(time.process_time() - begin)
        seconds[side] = min(taken)
    return {"version": package.__version__, "seconds": seconds}


def pytorch(path: Path):
    import torch

    from pltutorial import zoo
    from pltutorial.networks.inference import apply

    torch.set_num_threads(1)
    network = zoo.load_style(NETWORK, "cpu").only(NETWORK)
    return lambda image: (
        lambda: apply(network, torch.from_numpy(image), precision="float32").numpy()
    )


def in_onnxruntime(path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    return lambda image: lambda: session.run(["output"], {"image": image})[0]


def in_openvino(path: Path, **more: str):
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", **more}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda image: lambda: compiled([image])[0].copy()


def in_opencv(path: Path):
    import cv2

    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(path))

    def prepare(image):
        def run():
            network.setInput(image, "image")
            return network.forward().copy()

        return run

    return prepare


SIDES_OF = {
    "pytorch": pytorch,
    "onnxruntime": in_onnxruntime,
    "openvino": in_openvino,
    "openvino_float32": lambda path: in_openvino(path, INFERENCE_PRECISION_HINT="f32"),
    "opencv": in_opencv,
}

PAGE = """async ([model, inputs, runs]) => {
  const ort = await import("/ort.wasm.min.mjs");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("/", location.href).href;
  const options = { executionProviders: ["wasm"] };
  window.session ??= await ort.InferenceSession.create(bytes(model), options);
  const [text, side] = inputs;
  const values = new Float32Array(bytes(text).buffer);
  const image = new ort.Tensor("float32", values, [1, 3, side, side]);
  let output;
  for (let n = 0; n < runs; n++) ({ output } = await window.session.run({ image }));
  const found = new Uint8Array(output.data.buffer);
  let word = "";
  for (let n = 0; n < found.length; n += 32768)
    word += String.fromCharCode(...found.subarray(n, n + 32768));
  return [btoa(word), ort.env.versions?.web ?? ""];
}"""


def answer(route, dist: Path) -> None:
    """A page with nothing on it, and the runtime's files."""
    name = route.request.url.rpartition("/")[2]
    if name == "page":
        route.fulfill(body="<!doctype html>", content_type="text/html")
    else:
        route.fulfill(path=dist / name)


def browser(folder: Path) -> dict:
    """onnxruntime-web in Chromium; seconds that its processes computed."""
    from playwright.sync_api import sync_playwright

    from benchmarks.labs import processor_seconds
    from benchmarks.lighthouse.__main__ import executable
    from book.web import install_packages

    dist = install_packages() / "onnxruntime-web" / "dist"
    model = base64.b64encode((folder / "model.onnx").read_bytes()).decode()
    seconds, version = {}, ""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=executable(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = opened.new_page()
        page.set_default_timeout(120_000)
        page.route("**/*", lambda route: answer(route, dist))
        page.goto("http://localhost/page")
        for side in SIDES:
            image = numpy.load(folder / f"image_{side}.npy")
            given = [base64.b64encode(image.tobytes()).decode(), side]
            page.evaluate(PAGE, [model, given, 2])
            taken = []
            for runs in (1, 1 + RUNS):  # what comes and goes is in both
                begin = processor_seconds()
                text, version = page.evaluate(PAGE, [model, given, runs])
                taken.append(processor_seconds() - begin)
            seconds[side] = (taken[1] - taken[0]) / RUNS
            made = numpy.frombuffer(base64.b64decode(text), numpy.float32)
            numpy.save(folder / f"browser_{side}.npy", made.reshape(image.shape))
        about = opened.version
        opened.close()
    return {
        "version": f"onnxruntime-web {version}, Chromium {about}",
        "seconds": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(side_of(sys.argv[1], Path(sys.argv[2]))))
