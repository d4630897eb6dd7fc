"""What many tests share: a device, one loss network, small pictures, and the judge
of error sentences.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pltutorial import InputError, LossNetwork, cli, write_image

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="session", params=DEVICES)
def device(request) -> torch.device:
    """The CPU, and where there is one the GPU, in plain float32 so that
    both can be compared.

    Without a GPU one test of test_device.py is skipped and says so, instead of
    half of all tests.
    """
    if request.param == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(request.param)


@pytest.fixture(scope="session")
def network(device) -> LossNetwork:
    """The embedded VGG-16 in float32; it is frozen, so that tests can share it."""
    return LossNetwork(precision="float32", device=device)


def picture(
    height: int = 32,
    width: int = 32,
    seed: int = 0,
    count: int = 1,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Coloured blobs with a little noise, (count, 3, height, width) in [0, 1]; the
    same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.rand(count, 3, 5, 5, generator=generator)
    blobs = torch.nn.functional.interpolate(
        blobs, (height, width), mode="bicubic", align_corners=False
    )
    noise = torch.rand(count, 3, height, width, generator=generator)
    return (0.8 * blobs.clamp(0, 1) + 0.2 * noise).clamp(0, 1).to(device)


def code_of_the_page(package: str) -> str:
    """The code of the page on loops that imports this package."""
    page = Path(__file__).parent.parent / "book/loops.md"
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [
        block for block in blocks if re.search(rf"(from|import) {package}\b", block)
    ]
    return found


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; gives the exit code, standard output
    and standard error.
    """

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pltutorial", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def photo(tmp_path):
    return write_image(tmp_path / "photo.png", picture(40, 48))


def relative(given: torch.Tensor, expected: torch.Tensor) -> float:
    """||given - expected|| / ||expected||, in float64 on the CPU."""
    given, expected = given.detach().double().cpu(), expected.detach().double().cpu()
    return float((given - expected).norm() / expected.norm())


def assert_sentence(text: str, *words: str) -> None:
    """One sentence on one line that says what was given and, after a semicolon or
    comma, what is needed.
    """
    assert "\n" not in text, text
    assert not re.search(r"(?<!\.)[.!?]\s+\S", text), f"more than one sentence: {text}"
    assert "Traceback" not in text, text
    assert re.search(r"[;,] ", text), f"nothing says what is needed: {text}"
    assert len(text) > 30, text
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


@contextmanager
def refused(*words: str):
    """The block must raise InputError with exactly one sentence that
    holds these words.
    """
    with pytest.raises(InputError) as caught:
        yield caught
    assert_sentence(str(caught.value), *words)


def assert_refused(outcome: tuple[int, str, str], *words: str) -> None:
    code, printed, errors = outcome
    assert code == 2, (printed, errors)
    assert printed == ""
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1, errors
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), *words)


def process(*arguments, given: bytes = b"") -> subprocess.CompletedProcess:
    """The command in a process of its own, for pipes that are pipes."""
    words = [sys.executable, "-m", "pltutorial.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, input=given)


@contextmanager
def stopped_at(function: str, monkeypatch):
    """The block ends where this function is called; gives what it was called with."""
    seen = []

    class Stop(BaseException):  # which the command makes no sentence of
        pass

    def spy(*given, **named):
        seen.append((given, named))
        raise Stop

    monkeypatch.setattr(function, spy)
    with pytest.raises(Stop):
        yield seen


class Operations(TorchDispatchMode):
    """Records every operation that runs, with where its input and its result are."""

    HOST = (
        "_local_scalar_dense",
        "is_nonzero",
        "nonzero",
        "equal",
        "masked_select",
        "unique",
    )

    def __init__(self):
        super().__init__()
        self.names: list[str] = []
        self.to_host: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        self.names.append(name)
        given = next((arg for arg in args if isinstance(arg, torch.Tensor)), None)
        crossed = (
            isinstance(result, torch.Tensor)
            and result.device.type == "cpu"
            and given is not None
            and given.device.type != "cpu"
        )
        if crossed or name in self.HOST:
            self.to_host.append(name)
        return result
