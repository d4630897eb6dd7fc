"""Denoiser and decoders in a runtime without PyTorch, a sheet of pictures at once,
against PyTorch.
"""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from helpers import refused

from pltutorial import VAE, FlowNet, load_diffusion, load_vae
from pltutorial.onnx.flow import decoders_onnx, flow_onnx

CLOSE = 5e-5  # float32 in two runtimes, pictures in [-1, 1]


def runner(data: bytes):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(**inputs):
        names = [output.name for output in session.get_outputs()]
        feeds = {name: value.numpy() for name, value in inputs.items()}
        found = map(torch.from_numpy, session.run(names, feeds))
        return dict(zip(names, found, strict=True))

    return run


@pytest.mark.parametrize("shipped", [True, False])
def test_the_denoiser_answers_as_in_pytorch(shipped):
    """The one that ships, and one of other sizes and fewer classes; each picture with
    its own time and its own label, none among them.
    """
    torch.manual_seed(0)
    if shipped:
        network = load_diffusion(device="cpu").eval()
    else:
        network = FlowNet((16, 8, 24), size=16, classes=("red", "blue")).eval()
        with torch.no_grad():
            for part in network.parameters():
                part.copy_((part + 0.1 * torch.randn_like(part)).half().float())
    run, none = runner(flow_onnx(network)), len(network.classes)
    for count in (1, 3):
        x_t = torch.randn(count, 3, network.size, network.size)
        t, label = torch.rand(count), torch.arange(count) + none - count + 1
        found = run(
            x_t=x_t,
            t=t[:, None],
            label=torch.nn.functional.one_hot(label, none + 1).float(),
        )["estimate"]
        with torch.no_grad():
            expected = network(x_t, t, label)
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < CLOSE


def test_decoders_side_by_side_draw_as_in_pytorch():
    networks = {name: load_vae(name, device="cpu").eval() for name in ("pixel", "gan")}
    run = runner(decoders_onnx(networks))
    generator = torch.Generator().manual_seed(1)
    codes = {name: torch.randn(3, 32, generator=generator) for name in networks}
    found = run(**{f"latent_{name}": code for name, code in codes.items()})
    assert set(found) == {"picture_pixel", "picture_gan"}
    for name, network in networks.items():
        with torch.no_grad():
            expected = network.decode(codes[name])
        assert float((found[f"picture_{name}"] - expected).abs().max()) < CLOSE


def test_other_networks_are_refused():
    network = VAE(width=4, latent=8, size=16)
    with refused("a VAE was given"):
        flow_onnx(network)
    with refused("'flow' is none"):
        decoders_onnx({"flow": FlowNet((8, 8, 8), size=16)})
    with refused("none was given"):
        decoders_onnx({})
