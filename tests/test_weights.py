"""Where weights come from: the package, a file, torchvision's loader; and
every way it can fail.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import shutil
import socket
import threading

import pytest
import torch
from helpers import picture, refused, relative
from safetensors.torch import load_file, save_file
from torchvision.models import VGG16_Weights

from pltutorial import LossNetwork, vgg
from pltutorial.vgg import EMBEDDED


def shapes() -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in load_file(EMBEDDED).items()}


def stand_in() -> dict[str, torch.Tensor]:
    """A state dict of the right shapes in a few kilobytes: each tensor
    stores one number.
    """
    return {
        name: torch.full((1,), 0.01 * (number + 1)).expand(shape)
        for number, (name, shape) in enumerate(shapes().items())
    }


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder behind http://127.0.0.1, an empty TORCH_HOME, and no
    proxy between them.
    """
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    torch.hub.set_dir(None) if torch.hub._hub_dir is not None else None

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def point(name: str, file: str, port: int | None = None) -> None:
        url = f"http://127.0.0.1:{port or server.server_port}/{file}"
        value = VGG16_Weights[name].value
        monkeypatch.setattr(
            VGG16_Weights[name],
            "_value_",
            type(value)(url, value.transforms, value.meta),
        )

    point.folder = folder
    yield point
    server.shutdown()
    thread.join()
    server.server_close()


def serve(served, name: str, tensors=None, digest: str | None = None) -> None:
    path = served.folder / "weights.pth"
    torch.save(stand_in() if tensors is None else tensors, path)
    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(served.folder / f"vgg16-{digest}.pth")
    served(name, f"vgg16-{digest}.pth")


# torchvision's documentation of VGG16_Weights: mean and std of the two presets.
CONSTANTS = {
    "IMAGENET1K_FEATURES": ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
    "IMAGENET1K_V1": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class TestTorchvision:
    @pytest.mark.parametrize(
        "asked", ["torchvision", "IMAGENET1K_FEATURES", "IMAGENET1K_V1"]
    )
    def test_weights_and_their_own_normalisation(self, served, asked):
        name = "IMAGENET1K_FEATURES" if asked == "torchvision" else asked
        serve(served, name)
        network = LossNetwork(asked, precision="float32", device="cpu")
        mean, std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in CONSTANTS[name]
        )
        given = stand_in()
        assert torch.equal(network.weight1_1, given["features.0.weight"])
        assert torch.equal(network.bias5_3, given["features.28.bias"])
        image = picture(8, 8)
        weight, bias = given["features.0.weight"], given["features.0.bias"]
        expected = torch.nn.functional.conv2d(
            (image - mean) / std, weight, bias, padding=1
        )
        assert relative(network(image, ("conv1_1",))["conv1_1"], expected) < 1e-5

    def test_a_second_time_nothing_is_downloaded(self, served):
        serve(served, "IMAGENET1K_V1")
        LossNetwork("IMAGENET1K_V1", device="cpu")
        for path in served.folder.iterdir():
            path.unlink()
        LossNetwork("IMAGENET1K_V1", device="cpu")

    def test_no_network(self, served):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        served("IMAGENET1K_FEATURES", "vgg16-00000000.pth", port)
        with refused(
            "IMAGENET1K_FEATURES",
            "could not be downloaded",
            "Connection refused",
            "embedded",
        ):
            LossNetwork("torchvision", device="cpu")

    def test_not_found(self, served):
        served("IMAGENET1K_V1", "vgg16-00000000.pth")
        with refused("could not be downloaded", "not found", "embedded"):
            LossNetwork("IMAGENET1K_V1", device="cpu")

    def test_wrong_hash(self, served, tmp_path):
        serve(served, "IMAGENET1K_V1", digest="0123abcd")
        with refused("arrived damaged", "0123abcd", "try again"):
            LossNetwork("IMAGENET1K_V1", device="cpu")
        assert list((tmp_path / "home").rglob("*.pth*")) == []

    @pytest.mark.skipif(
        not vgg.Path("/dev/full").exists(), reason="this system has no /dev/full"
    )
    def test_disk_full(self, served, monkeypatch):
        """A real ENOSPC: what torch.hub writes goes to /dev/full."""
        serve(served, "IMAGENET1K_V1")
        real = open

        class Full:
            """Keeps the name of the real target: torch.hub deletes what it could not
            finish, by that name.
            """

            def __init__(self, name):
                self.name, self.file = str(name), real("/dev/full", "wb", buffering=0)

            def write(self, data):
                return self.file.write(data)

            def close(self):
                self.file.close()

        def full(path, mode="r", *args, **kwargs):
            return Full(path) if "w" in mode else real(path, mode, *args, **kwargs)

        monkeypatch.setattr(torch.hub, "open", full, raising=False)
        with refused("could not be stored", "No space left on device", "free space"):
            LossNetwork("IMAGENET1K_V1", device="cpu")
        assert vgg.Path("/dev/full").exists()

    def test_torch_home_that_cannot_be_made(self, served, tmp_path, monkeypatch):
        serve(served, "IMAGENET1K_V1")
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
        with refused("could not be stored", "TORCH_HOME"):
            LossNetwork("IMAGENET1K_V1", device="cpu")

    def test_what_arrives_is_no_vgg(self, served):
        serve(served, "IMAGENET1K_V1", tensors={"fc.weight": torch.zeros(3)})
        with refused("IMAGENET1K_V1", "features.0"):
            LossNetwork("IMAGENET1K_V1", device="cpu")


class Code:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return vgg.Path.touch, (self.path,)


class TestFiles:
    @pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
    def test_a_state_dict_with_torchvisions_names(self, tmp_path, ending):
        path = tmp_path / f"mine{ending}"
        tensors = {name: value.contiguous() for name, value in stand_in().items()}
        save_file(tensors, path) if ending == ".safetensors" else torch.save(
            tensors, path
        )
        network = LossNetwork(path, precision="float32", device="cpu")
        assert torch.equal(network.weight2_1, tensors["features.5.weight"])
        assert torch.equal(network.mean, LossNetwork(device="cpu").mean)
        assert torch.equal(
            LossNetwork(str(path), device="cpu").bias2_1, tensors["features.5.bias"]
        )

    def test_a_pickle_with_code_is_refused_and_not_run(self, tmp_path):
        trace = tmp_path / "trace"
        (tmp_path / "bad.pth").write_bytes(
            pickle.dumps({"features.0.weight": Code(trace)}, protocol=2)
        )
        torch.save({"features.0.weight": Code(trace)}, tmp_path / "worse.pth")
        for name in ("bad.pth", "worse.pth"):
            with refused(name, "cannot be read"):
                LossNetwork(tmp_path / name, device="cpu")
        assert not trace.exists()

    @pytest.mark.parametrize(
        "content", [[1, 2, 3], torch.zeros(3), "text", {"features.0.weight": 1}]
    )
    def test_a_pth_that_is_no_state_dict(self, tmp_path, content):
        torch.save(content, tmp_path / "other.pth")
        with refused("other.pth"):
            LossNetwork(tmp_path / "other.pth", device="cpu")

    def test_a_wrong_shape(self, tmp_path):
        tensors = {name: value.clone() for name, value in stand_in().items()}
        tensors["features.5.bias"] = torch.zeros(64)
        save_file(tensors, tmp_path / "odd.safetensors")
        with refused("features.5"):
            LossNetwork(tmp_path / "odd.safetensors", device="cpu")

    def test_a_picture_given_as_weights(self, tmp_path):
        with refused("picture.jpg", ".safetensors"):
            LossNetwork(tmp_path / "picture.jpg", device="cpu")
        (tmp_path / "picture.pth").write_bytes(b"\xff\xd8\xff\xe0 this is a JPEG")
        with refused("picture.pth", "cannot be read"):
            LossNetwork(tmp_path / "picture.pth", device="cpu")

    def test_missing_empty_and_truncated(self, tmp_path):
        with refused("gone.pth", "does not exist"):
            LossNetwork(tmp_path / "gone.pth", device="cpu")
        for ending in (".pth", ".safetensors"):
            (tmp_path / f"empty{ending}").touch()
            with refused("empty", "cannot be read"):
                LossNetwork(tmp_path / f"empty{ending}", device="cpu")
        (tmp_path / "half.safetensors").write_bytes(EMBEDDED.read_bytes()[:100_000])
        with refused("half.safetensors", "cannot be read"):
            LossNetwork(tmp_path / "half.safetensors", device="cpu")

    def test_an_unknown_name(self):
        with refused("'torchvison'", "'torchvision'"):
            LossNetwork("torchvison", device="cpu")


class TestEmbedded:
    def test_one_flipped_bit_is_refused(self, tmp_path, monkeypatch):
        path = tmp_path / EMBEDDED.name
        shutil.copy(EMBEDDED, path)
        with path.open("r+b") as file:
            file.seek(20_000_000)
            byte = file.read(1)[0]
            file.seek(20_000_000)
            file.write(bytes([byte ^ 1]))
        monkeypatch.setattr(vgg, "EMBEDDED", path)
        with refused("sha256", vgg.EMBEDDED_SHA256[:12], "install the package again"):
            LossNetwork(device="cpu")

    def test_it_is_the_file_of_the_provenance(self):
        text = EMBEDDED.with_name("PROVENANCE.md").read_text()
        assert vgg.EMBEDDED_SHA256 in text
        assert f"{EMBEDDED.stat().st_size:,} bytes" in text

    def test_missing(self, monkeypatch, tmp_path):
        monkeypatch.setattr(vgg, "EMBEDDED", tmp_path / "gone.safetensors")
        with refused("does not exist", "install"):
            LossNetwork(device="cpu")
