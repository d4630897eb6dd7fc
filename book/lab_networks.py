"""Networks that the labs draw with: VGG-16 in three files, so that a reader fetches no
deeper than she looks, the inverters of chapter 8 and the decoders of chapter 5.
"""

from __future__ import annotations

from pathlib import Path

DEEPER = {"relu3_3": "relu2_2", "relu4_3": "relu3_3"}
"""The last layer of each further file, and the layer that it goes on from; the first
file is that of the other labs, to relu2_2.
"""
MOVED = {"relu1_2": 64, "relu2_2": 128}
"""Shallow layers whose features pixels are moved towards, and their channels."""
DRAWERS = [
    f"{kind}_{layer}{loss}"
    for layer in DEEPER
    for kind, loss in (("invert", "_image"), ("invert", "_deepsim"), ("decode", ""))
]


def files() -> list[Path]:
    """The weights that are exported."""
    from pltutorial import zoo

    return [zoo.LIKENESS / f"{name}.safetensors" for name in DRAWERS]


def names() -> set[str]:
    """Of the files that are written."""
    made = [f"vgg_{layer}" for layer in DEEPER] + DRAWERS
    made += [f"pixels_{layer}" for layer in MOVED]
    return {f"{name}.onnx" for name in made}


def export(target: Path) -> dict[str, dict]:
    """Write them as ONNX; returns what labs.json says of each."""
    from pltutorial.networks import load_network
    from pltutorial.onnx.export import to_onnx
    from pltutorial.onnx.loss_network import features_onnx, style_gradient_onnx
    from pltutorial.vgg import LossNetwork

    network = LossNetwork(device="cpu")
    made = {
        layer: (f"vgg_{layer}.onnx", features_onnx(network, [layer], after))
        for layer, after in DEEPER.items()
    }
    for path in files():
        drawer = load_network(path, "cpu")
        made[path.stem] = f"{path.stem}.onnx", to_onnx(drawer)
    # means and not maxima, as where styles are moved
    smoother = LossNetwork(pooling="average", device="cpu")
    for layer in MOVED:
        data = style_gradient_onnx(smoother, [layer], layer)
        made[f"pixels_{layer}"] = f"pixels_{layer}.onnx", data
    for name, data in made.values():
        (target / name).write_bytes(data)
    facts = {
        what: {"file": name, "bytes": len(data)} for what, (name, data) in made.items()
    }
    for layer, channels in MOVED.items():
        graph = {"layers": [layer], "channels": [channels]}
        facts[f"pixels_{layer}"] |= graph | {"depth": int(layer[4]) - 1}
    return facts
