"""Weights and activations in 8 bits: what is saved, and what it costs in each judge.

The arms, all of them ONNX files for onnxruntime on one thread:

- float32, the file that `pltutorial export --storage float` writes; half its weights in
  float16, the file that ships to browsers. Both compute in float32.
- weights: the weights of each convolution as int8, one scale for each of its outputs
  (symmetric), computed in float32.
- int8: activations as uint8 too, their ranges found on crops of the training
  photographs; the sums are integers (Jacob et al. 2018).
- int8_ends_float: the same, but the first and the last convolution stay in float32.

The convolutions of the last three are plain, not in tiles after Winograd, whose sums of
weights would have other ranges; `float32 plain` is the control.
"""

from __future__ import annotations

import contextlib
import logging
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from onnxruntime import quantization

from pltutorial import (
    bundled,
    bundled_names,
    read_image,
    zoo,
)
from pltutorial.degradations import add_noise, downscale
from pltutorial.distances import (
    content_distance,
    layer_distances,
    second_judge,
    style_distance,
)
from pltutorial.images import middle_square
from pltutorial.metrics import perceptual_distance, psnr, ssim
from pltutorial.networks import load_network
from pltutorial.onnx.export import to_onnx

NETWORKS = ("great_wave", "upscale_x4_pixel", "denoise_pixel")
SIDE, CALIBRATED, ROUNDS, SIGMA = 192, 8, 4, 25


def measured() -> dict:
    return {
        "pictures": bundled_names("test"),
        "side": SIDE,
        "calibrated_on": CALIBRATED,
        "onnxruntime": onnxruntime.__version__,
        "networks": {name: network_row(name) for name in NETWORKS},
    }


def network_row(name: str) -> dict:
    """All arms of one network: bytes, seconds side by side, judges."""
    files = zoo.installed()
    if name in files:
        network = load_network(files[name], "cpu").eval()
    else:  # a style, cut out of its network
        network = zoo.load_style(name, "cpu").only(name)
    files = arms(network, name)
    sessions = {arm: session(data) for arm, data in files.items()}
    truth, given = pairs(name, "test")
    made = {arm: run(one, given) for arm, one in sessions.items()}
    seconds = side_by_side(sessions, given[:1])
    judges = {
        arm: judged(name, images, made["float32"], truth)
        for arm, images in made.items()
    }
    return {
        arm: {
            "bytes": len(files[arm]),
            "seconds_ratio": round(seconds[arm] / seconds["float32"], 2),
            **judges[arm],
        }
        for arm in files
    }


def pairs(name: str, folder: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle squares of photographs, and what the network is given of them."""
    names = bundled_names(folder)[: CALIBRATED if folder == "train" else None]
    truth = torch.cat([middle_square(bundled(f"{folder}/{n}"), SIDE) for n in names])
    if name.startswith("upscale"):
        return truth, downscale(truth, 4)
    if name.startswith("denoise"):
        draws = [torch.Generator().manual_seed(n) for n in range(len(truth))]
        return truth, add_noise(truth, SIGMA, draws).clamp(0, 1)
    return truth, truth


# --- the arms -------------------------------------------------------------------------


def arms(network: torch.nn.Module, name: str) -> dict[str, bytes]:
    """The files by the name of the arm."""
    given = pairs(name, "train")[1]
    float32 = to_onnx(network, storage="float", card={})
    plain = plainly(network)
    return {
        "float32": float32,
        "float16": to_onnx(network, storage="half", card={}),
        "float32_plain": plain,
        "weights": weights_only(plain),
        "int8": static(plain, given),
        "int8_ends_float": static(plain, given, ends=True),
    }


def plainly(network: torch.nn.Module) -> bytes:
    """The network with plain convolutions, everything that depends on weights alone
    computed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = (
            onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        )
        options.optimized_model_filepath = str(path)
        data = to_onnx(network, storage="float", runtime="native", card={})
        session(data, options)
        return path.read_bytes()


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Those with weights of a thousand numbers and more."""
    large = {i.name for i in model.graph.initializer if numpy.prod(i.dims) >= 1000}
    kinds = ("Conv", "ConvTranspose")
    return [n for n in model.graph.node if n.op_type in kinds and n.input[1] in large]


def weights_only(data: bytes) -> bytes:
    """The weights as int8 with one scale for each output; the sums stay float32."""
    model = onnx.load_from_string(data)
    known = {one.name: one for one in model.graph.initializer}
    for node in convolutions(model):
        tensor = known[node.input[1]]
        axis = 0 if node.op_type == "Conv" else 1
        values = numpy_helper.to_array(tensor)
        rest = tuple(place for place in range(values.ndim) if place != axis)
        scale = numpy.abs(values).max(rest, keepdims=True) / 127 + 1e-12
        small = numpy.rint(values / scale).astype(numpy.int8)
        name = tensor.name
        parts = (small, scale.ravel().astype(numpy.float32))
        names = (f"{name}_int8", f"{name}_scale")
        model.graph.initializer.remove(tensor)
        for part, called in zip(parts, names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(part, called))
        floats = helper.make_node("DequantizeLinear", names, [name], axis=axis)
        model.graph.node.insert(0, floats)
    return model.SerializeToString()


def static(data: bytes, given: torch.Tensor, ends: bool = False) -> bytes:
    """Weights and activations in 8 bits, by onnxruntime's own quantisation."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(given.split(1))

        def get_next(self) -> dict | None:
            image = next(self.rest, None)
            return None if image is None else {"image": image.numpy()}

    model = onnx.load_from_string(data)
    nodes = convolutions(model)
    left = [nodes[0].name, nodes[-1].name] if ends else []
    with tempfile.TemporaryDirectory() as folder, quietly():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(data)
        quantization.quantize_static(
            source,
            target,
            Reader(),
            op_types_to_quantize=["Conv", "ConvTranspose"],
            per_channel=True,
            nodes_to_quantize=[n.name for n in nodes if n.name not in left],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return target.read_bytes()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without advice to prepare the model, which is done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


# --- what they make, how fast, how well -----------------------------------------------


def session(
    data: bytes, options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    """A file in onnxruntime, on one thread."""
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"]
    )


def run(one: onnxruntime.InferenceSession, given: torch.Tensor) -> torch.Tensor:
    """Pictures one by one."""
    made = [one.run(["output"], {"image": x.numpy()})[0] for x in given.split(1)]
    return torch.from_numpy(numpy.concatenate(made)).clamp(0, 1)


def side_by_side(
    sessions: dict[str, onnxruntime.InferenceSession], given: torch.Tensor
) -> dict[str, float]:
    """Median seconds of computing of each, in turns, so that what else the machine
    does meets them all.
    """
    taken: dict[str, list[float]] = {arm: [] for arm in sessions}
    for _ in range(ROUNDS + 1):
        for arm, one in sessions.items():
            begin = time.process_time()
            run(one, given)
            taken[arm].append(time.process_time() - begin)
    return {arm: statistics.median(times[1:]) for arm, times in taken.items()}


def judged(
    name: str, made: torch.Tensor, floats: torch.Tensor, truth: torch.Tensor
) -> dict:
    """Means over the pictures: to what float32 makes; then to the photograph, or of a
    print to its painting.
    """
    row = {"to_float32": distances(made, floats)}
    row["to_float32"]["largest"] = round(255 * float((made - floats).abs().max()), 1)
    if name.startswith(("upscale", "denoise")):
        return row | {"to_truth": distances(made, truth)}
    style = read_image(bundled(f"style/{name}"), SIDE)
    judges = {"vgg": None, "second": second_judge(made.device)}
    row["to_style"] = {
        judge: mean(style_distance(made, style, network=network), 4)
        for judge, network in judges.items()
    }
    return row | {"to_photograph": {"second": mean(content_distance(made, truth), 4)}}


def distances(made: torch.Tensor, other: torch.Tensor) -> dict:
    """What each judge says; pictures that are equal in 8 bits have no PSNR."""
    features, decibels = layer_distances(made, other), mean(psnr(made, other), 2)
    return {
        "psnr": decibels if math.isfinite(decibels) else None,
        "ssim": mean(ssim(made, other), 4),
        "vgg": mean(torch.stack(list(features.values())), 5),
        "st_lpips": mean(perceptual_distance(made, other), 4),
        "second": mean(content_distance(made, other), 5),
    }


def mean(values: torch.Tensor, digits: int) -> float:
    return round(float(values.mean()), digits)
