"""Hostile inputs by the thousand over every command, the Python functions and the
server: each ends in its work, in one sentence, or in an InputError; no file is lost.

    make fuzz                                    the whole campaign, 2 processes
    python tests/fuzz.py --inputs 100            a small one
    python tests/fuzz.py --only pictures:17      one input again, with its traceback

The seed decides every input. It runs as an ordinary user: root's rights are given up
where another user can read this Python, else it is refused; PLTUTORIAL_FUZZ_ROOT=1 in
the environment lets it run as root.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import inspect
import io
import json
import os
import random
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

SLOW = 60.0  # seconds that one input may take
NOBODY = 65534
ROOM = 6 << 30  # bytes of address space beside what is loaded


class TooSlow(BaseException):
    """An input took longer than :data:`SLOW`."""


# --- values ---------------------------------------------------------------------------

PLAIN = """
| |-|--|.|..|/|0|-1|1|2|3.5|-0.0|1e999|nan|inf|0x10|1_000|64|0.5|1,2,3|true|None|[]|{}
|great_wave|great_wave:0|great_wave:-1|great_wave:1e400|great_wafe|poppies:0.3|a,b|a:0.5
|:|,|*|%s|$HOME|~nobody/x|relu3_3|relu9_9|luminance|histogram|cpu|cuda:7|meta|float16
|bfloat16|pixel|ok.png|ok.jpg|ok.gif|text.png|empty.png|pipe.png|pipe.safetensors
|loop.png|device.png|folder|net.safetensors|nothing/x.png|x.webp|out.png|inside/out.png
|ok.png/out.png|{0..99999999}|x-{0..3}.tar|https://127.0.0.1:9/x.png"""
PLAIN = PLAIN.replace("\n", "").split("|")
LONG = ["9" * 30, "9" * 5000, "a" * 300, "a/" * 60 + "b"]
WORDS = [*PLAIN, *LONG, "\u0661", "\u00e4 \u00f6.png", "\udce4.png", "a\nb.png", "\0"]
NUMBERS = [0, 1, -1, 2, 3, 7, 255, 256, *(2**n for n in (15, 31, 32, 53, 63, 64))]


def changed(data: bytes, draw: random.Random) -> bytes:
    """Bytes with a few of them changed, cut, doubled or written over by numbers."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(len(data) + 1)
        if draw.random() < 0.5:  # heads hold what decides
            place = min(place, draw.randrange(200))
        kind = draw.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            size = draw.choice((1, 2, 4, 8))
            number = draw.choice(NUMBERS) % 256**size
            data[place : place + size] = number.to_bytes(
                size, draw.choice(("big", "little"))
            )
        elif kind == 2:
            del data[place : place + draw.choice((1, 4, 100, 10_000))]
        elif kind == 3:
            data[place:place] = data[place : place + draw.choice((4, 64, 1000))]
        elif kind == 4:
            data[place:place] = draw.randbytes(draw.choice((1, 8, 64)))
        elif draw.random() < 0.2:
            data = data[:place]
    return bytes(data)


def anything(draw: random.Random, depth: int = 0):
    """A value such as JSON and YAML hold."""
    kinds = ["number", "word", "none", "bool", "float"]
    kinds += ["list", "dict"] if depth < 4 else []
    kind = draw.choice(kinds)
    if kind == "number":
        return draw.choice(NUMBERS) * draw.choice((1, 1, -1, 10**20))
    if kind == "word":
        return draw.choice([*PLAIN, *LONG])
    if kind == "float":
        return draw.choice((0.0, -0.0, 0.5, 1e308, 1e-320, float("nan"), float("inf")))
    if kind == "list":
        return [anything(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == "dict":
        return {draw.choice(WORDS[:20]): anything(draw, depth + 1) for _ in range(3)}
    return draw.choice((True, False)) if kind == "bool" else None


# --- the folder -----------------------------------------------------------------------


def make_folder() -> None:
    """Pictures, a network and what is no file, in the working folder."""
    import numpy
    from PIL import Image

    values = numpy.random.default_rng(0).integers(0, 255, (24, 32, 4), numpy.uint8)
    rgba, rgb = Image.fromarray(values), Image.fromarray(values[..., :3])
    for ending in ("png", "jpg", "webp", "tif", "bmp", "avif", "ppm", "jp2", "tga"):
        with contextlib.suppress(OSError, KeyError):
            rgb.save(f"ok.{ending}")
    rgba.save("alpha.png")
    rgb.convert("P").save("palette.png", transparency=3)
    rgb.convert("CMYK").save("cmyk.jpg")
    Image.fromarray(values[..., 0].astype(numpy.uint16) * 257).save("deep.png")
    Image.fromarray(values[..., 0].astype(numpy.float32)).save("float.tif")
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    for name in ("ok.gif", "frames.webp", "frames.png", "pages.tif"):
        rgb.save(name, **more)
    Path("map.pfm").write_bytes(b"PF\n4 3\n-1.0\n" + bytes(144))
    Path("text.png").write_text("no picture")
    Path("empty.png").touch()
    Path("folder").mkdir()
    rgb.save("folder/ok.png")
    os.mkfifo("pipe.png")
    os.mkfifo("pipe.safetensors")
    Path("loop.png").symlink_to("loop.png")
    Path("device.png").symlink_to("/dev/zero")
    from pltutorial import zoo

    shutil.copy(zoo.installed()["great_wave"], "net.safetensors")
    for name, kind in (
        ("ok.zip", zipfile.ZIP_STORED),
        ("packed.zip", zipfile.ZIP_DEFLATED),
    ):
        with zipfile.ZipFile(name, "w", kind) as archive:
            archive.write("ok.png")
            archive.write("ok.jpg")
    with tarfile.open("ok.tar", "w") as archive:
        archive.add("ok.png")
        archive.add("ok.jpg")


def copied(model: Path, folder: Path) -> None:
    """The folder once more: links stay links and pipes pipes."""
    for path in model.iterdir():
        target = folder / path.name
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_fifo():
            os.mkfifo(target)
        elif path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy(path, target)


def kept(folder: Path) -> dict[str, str]:
    """What must be there afterwards: names with the hash, or the kind, of each file."""
    state = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        what = hex(stat.S_IFMT(mode))
        if stat.S_ISREG(mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        state[str(path.relative_to(folder))] = what
    return state


# --- areas: each gives a function that does one input ---------------------------------

_written: set[str] = set()
Case = Callable[[random.Random], None]
AREAS: dict[str, tuple[int, Case]] = {}


def area(weight: int) -> Callable[[Case], Case]:
    """Make a kind of inputs known; ``weight`` is its share of all of them."""

    def make(function: Case) -> Case:
        AREAS[function.__name__] = weight, function
        return function

    return make


def command(*words: str, given: bytes = b"") -> None:
    """Run the command in this process, without the net of its last line of defence."""
    from pltutorial import InputError
    from pltutorial.cli.app import app

    words = [str(word) for word in words]
    outputs = {after for word, after in pairwise(words) if word in ("-o", "--output")}
    _written.update(word for word in outputs if words.count(word) == 1)
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in "ab"
    )
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(given)), out, err
    try:
        app(words, standalone_mode=True)
    except (SystemExit, InputError) as problem:
        if "\n" in str(problem) or not str(problem).isprintable():
            raise AssertionError(f"more than a line: {problem!r}") from None
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for stream in (out, err):
            with contextlib.suppress(ValueError):
                stream.flush()
    for stream in (out, err):
        if b"Traceback" in stream.buffer.getvalue():
            raise AssertionError(f"a traceback was printed by {words}")


PICTURES = ["stylize", "denoise", "upscale", "deblur", "inpaint", "invert", "transfer"]
QUICK = {
    "stylize": ("--style", "great_wave"),
    "transfer": ("poppies", "--steps", "1", "--sizes", "24", "--no-progress"),
    "reconstruct": ("--steps", "1", "--sizes", "24", "--no-progress"),
    "texture": ("--steps", "1", "--sizes", "24", "--no-progress"),
}
TINY = (
    "--steps",
    "1",
    "--size",
    "16",
    "--batch-size",
    "1",
    "--no-progress",
    "-o",
    "run",
)
TINY_STYLE = (*TINY, "--style-size", "24", "--width", "2", "--blocks", "1")


@area(10)
def pictures(draw: random.Random) -> None:
    """Damaged pictures, as files and through a pipe."""
    seeds = [p for p in sorted(Path().glob("*.*")) if p.is_file() and p.stat().st_size]
    seeds = [
        p for p in seeds if p.suffix not in (".zip", ".tar", ".safetensors", ".yaml")
    ]
    seed = draw.choice(seeds)
    data = changed(seed.read_bytes(), draw)
    name = draw.choice(PICTURES)
    out = draw.choice(("out.png", "out.png", "out.webp", "out.jpg", "out.gif"))
    if draw.random() < 0.2:
        command(name, "-", *QUICK.get(name, ()), "-o", out, given=data)
        return
    bad = Path(f"bad{draw.choice((seed.suffix, seed.suffix, '.png', '.jfif'))}")
    bad.write_bytes(data)
    command(name, bad, *QUICK.get(name, ()), "-o", out)


@area(3)
def folders(draw: random.Random) -> None:
    """A folder of damaged pictures and odd names."""
    folder = Path("bad")
    folder.mkdir()
    for seed in draw.sample(("ok.png", "ok.jpg", "ok.gif", "deep.png", "text.png"), 2):
        name = draw.choice(("a", "ä", "\udce4", "a\nb", ".a", "a b", "a" * 200))
        data = changed(Path(seed).read_bytes(), draw)
        (folder / f"{name}{Path(seed).suffix}").write_bytes(data)
    if draw.random() < 0.3:
        os.mkfifo(folder / "p.png")
    if draw.random() < 0.7:
        command("stylize", folder, "--style", "great_wave", "-o", "out")
    else:
        command("train", "denoise", "--data", folder, *TINY)


@area(10)
def networks(draw: random.Random) -> None:
    """Damaged networks, and architectures that lie."""
    from pltutorial import zoo

    files = zoo.installed()
    source = files[draw.choice(sorted(files))].read_bytes()
    length = int.from_bytes(source[:8], "little")
    if draw.random() < 0.4:
        data = changed(source[: 8 + length], draw) + source[8 + length :]
    else:
        head = json.loads(source[8 : 8 + length])
        facts = head["__metadata__"]
        config = json.loads(facts["config"])
        if draw.random() < 0.7:
            config[draw.choice([*config, "more"])] = anything(draw)
            facts["config"] = json.dumps(config)
        else:
            fact = draw.choice(("config", "card", "version", "format"))
            facts[fact] = draw.choice((json.dumps(anything(draw)), "[" * 10**5, ""))
        written = json.dumps(head).encode()
        data = struct.pack("<Q", len(written)) + written + source[8 + length :]
    Path("bad.safetensors").write_bytes(data)
    name = draw.choice(
        ("stylize", "denoise", "upscale", "inpaint", "invert", "colorize")
    )
    if draw.random() < 0.2:
        command("sample", "--model", "bad.safetensors", "--count", "1", "-o", "out.png")
    else:
        command(name, "ok.png", "--model", "bad.safetensors", "-o", "out.png")


@area(8)
def yaml(draw: random.Random) -> None:
    """Configurations of runs."""
    recipes = sorted((_package() / "assets" / "recipes").glob("*.yaml"))
    lines = ["steps: 1", "size: 16", "batch_size: 1", "width: 2", "blocks: 1"]
    kind = draw.randrange(4)
    if kind == 0:
        text = changed(draw.choice(recipes).read_bytes(), draw)
    elif kind == 1:
        name = draw.choice(
            ("steps", "size", "zoom", "styles", "betas", "seed", "device")
        )
        text = "\n".join([*lines, f"{name}: {json.dumps(anything(draw))}"]).encode()
    elif kind == 2:
        tag = draw.choice(
            ("int", "float", "bool", "null", "timestamp", "binary", "set")
        )
        lines.append(f"{draw.choice(lines)[:4]}: !!{tag} {draw.choice(WORDS[:30])!r}")
        text = "\n".join(lines).encode("utf-8", "surrogatepass")
    else:
        text = changed("\n".join([*lines, "a: &a [1]", "steps: *a"]).encode(), draw)
    Path("bad.yaml").write_bytes(text)
    task = draw.choice(("denoise", "style", "vae", "invert"))
    command("train", task, "--config", "bad.yaml", *TINY)


@area(8)
def archives(draw: random.Random) -> None:
    """Damaged collections of pictures."""
    from pltutorial import Pictures

    seed = draw.choice(("ok.zip", "packed.zip", "ok.tar"))
    data = bytearray(changed(Path(seed).read_bytes(), draw))
    table = data.find(b"PK\1\2")
    if table >= 0 and draw.random() < 0.5:
        place = table + draw.choice((8, 10, 20, 24, 28, 30, 32, 34, 42, 46))
        size = draw.choice((2, 4))
        data[place : place + size] = (draw.choice(NUMBERS) % 256**size).to_bytes(
            size, "little"
        )
    bad = Path(f"bad{Path(seed).suffix}")
    bad.write_bytes(data)
    if draw.random() < 0.1:
        command("train", "denoise", "--data", bad, *TINY)
    else:
        _refused(lambda: [Pictures(bad, 16)[n] for n in range(2)])


@area(3)
def checkpoints(draw: random.Random) -> None:
    """Contents of others with a right hash, and damaged files."""
    from pltutorial.training.checkpoint import read_checkpoint, write_checkpoint

    run = Path("bad")
    command(
        "train", "style", *TINY_STYLE[:-8], *TINY_STYLE[-6:], "--width", "2", "-o", run
    )
    path = run / "checkpoint.pt"
    if draw.random() < 0.3:
        path.write_bytes(changed(path.read_bytes(), draw))
    else:
        state = read_checkpoint(path)
        place, key = state, draw.choice([key for key in state if key != "version"])
        while isinstance(place[key], dict) and place[key] and draw.random() < 0.6:
            place = place[key]
            key = draw.choice(list(place))
        place[key] = anything(draw)
        write_checkpoint(path, state)
    command("train", "style", *TINY_STYLE, "-o", run, "--steps", "2")


@area(24)
def options(draw: random.Random) -> None:
    """Hostile values of every option and argument of every command."""
    path, click = draw.choice(_commands())
    words = [*path]
    for parameter in click.params:
        if parameter.param_type_name == "argument" and draw.random() < 0.95:
            words.append("ok.png" if draw.random() < 0.6 else draw.choice(WORDS))
    chosen = [p for p in click.params if p.param_type_name == "option"]
    for parameter in draw.sample(
        chosen, min(len(chosen), draw.choice((0, 1, 1, 2, 3)))
    ):
        if parameter.name in ("help", "version", "port", "host", "workers", "compile"):
            continue
        words.append(draw.choice(parameter.opts + parameter.secondary_opts))
        if not parameter.is_flag:
            words.append(draw.choice(WORDS))
    if "train" in path:
        words += TINY_STYLE if "style" in path else TINY
    elif path[0] in QUICK:
        words += QUICK[path[0]][-5:]
    if any(p.name == "output" for p in click.params) and "-o" not in words:
        words += ["-o", draw.choice(("out.png", "out.png", *WORDS))]
    if path[0] == "serve":
        words += ["--port", "99999"]  # it would go on for ever
    if path[0] == "data":
        words += ["--url", "http://127.0.0.1:9"]
    command(*words)


@area(10)
def functions(draw: random.Random) -> None:
    """Hostile arguments of the public functions."""
    import torch

    import pltutorial

    names = [n for n in pltutorial.__all__ if n not in _NO_FUNCTIONS]
    function = getattr(pltutorial, draw.choice(names))
    if not callable(function):
        return
    image = torch.rand(1, 3, 24, 24)
    values = [None, 0, 1, -1, 2, 10**30, 0.5, -0.5, float("nan"), True, object(), b"x"]
    values += [[], {}, (), ["relu1_1"], {"relu1_1": 1.0}, Path("out.png"), *PLAIN]
    wrong = [image[0], image[:, :1], image[..., :0], image.double(), image.half()]
    wrong += [image > 0.5, image.mul(255).to(torch.uint8), image * float("nan")]
    wrong += [image * 300, image.repeat(2, 1, 1, 1), torch.tensor(0.5), image, image]
    values += 3 * wrong
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    quick = {"steps": 1, "progress": False, "sizes": (24,), "size": 16, "batch_size": 1}
    given = {}
    for parameter in parameters:
        if parameter.name in _DUCKS:  # what is only called is not asked what it is
            if parameter.default is parameter.empty:
                return
            continue
        if parameter.default is parameter.empty or draw.random() < 0.2:
            likely = image if parameter.name in _IMAGES else draw.choice(values)
            given[parameter.name] = (
                likely if draw.random() < 0.6 else draw.choice(values)
            )
        elif parameter.name in quick:
            given[parameter.name] = quick[parameter.name]
    _written.update(("ok.png", "out.png"))
    _refused(lambda: function(**given))


_IMAGES = ("image", "images", "content", "style", "output", "target", "one", "other")
_DUCKS = ("network", "one", "other", "settings", "task", "objective", "callback")
_DUCKS += ("encoder", "discriminator", "adversary", "change", "kwargs", "args", "changes")
_NO_FUNCTIONS = ("InputError", "live_panel", "train")


@area(4)
def progress(draw: random.Random) -> None:
    """Records of progress that are none."""
    record = Path("record.sqlite")
    record.write_bytes(changed(b"SQLite format 3\0" + bytes(2000), draw))
    names = [
        str(record),
        "pipe.png",
        "device.png",
        "folder",
        "~nobody/x",
        "a" * 300,
        "\udce4",
    ]
    os.environ["PLTUTORIAL_PROGRESS"] = draw.choice(names)
    try:
        command("progress", *draw.choice(((), ("--reset",), ("--reset", "--yes"))))
    finally:
        os.environ["PLTUTORIAL_PROGRESS"] = "off"


@area(10)
def requests(draw: random.Random) -> None:
    """Requests to the server of the site."""
    port = _server()
    method = draw.choice(("GET", "GET", "GET", "HEAD", "POST", "TRACE", "G" * 9000, ""))
    paths = (
        "/",
        "/index.html",
        "/a.js",
        "/pipe.txt",
        "/loop",
        "/.env",
        "/a.js/",
        "*",
        "",
    )
    path = draw.choice((*paths, "/" + draw.choice(WORDS), "/../a", "/%00", "/%ff" * 99))
    lines = [f"{method} {path} HTTP/{draw.choice(('1.1', '1.0', '0.9', '9', 'x'))}"]
    heads = (
        "Range",
        "Accept-Encoding",
        "If-Modified-Since",
        "If-Range",
        "Host",
        "Expect",
    )
    words = (
        *(
            "bytes=0-3",
            "bytes=-1",
            "bytes=9-",
            "bytes=3-1",
            "bytes=0-1,2-3",
            "gzip;q=0",
        ),
        *(
            "gzip",
            "*;q=x",
            "Mon, 01 Jan 2001 00:00:00 GMT",
            "Mon, 99 Foo 99999",
            *WORDS,
        ),
    )
    lines += [
        f"{draw.choice(heads)}: {draw.choice(words)}" for _ in range(draw.randrange(4))
    ]
    text = "\r\n".join([*lines, "Connection: close", "", ""])
    data = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.3:
        data = changed(data, draw) + b"\r\n\r\n"
    talk = socket.create_connection(("127.0.0.1", port), timeout=20)
    with talk, contextlib.suppress(ConnectionError):
        talk.sendall(data)
        talk.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: talk.recv(1 << 16), b""))
        if b" 500 " in answer[:20] or b"Python" in answer.partition(b"\r\n\r\n")[0]:
            raise AssertionError(f"answered {answer[:80]!r}")
    said = _said()
    if said:
        raise AssertionError(f"the server said {said!r}")


_serving: dict = {}


def _server() -> int:
    """The port of a server of a small folder, of this process."""
    if not _serving:
        from pltutorial.cli import serve

        folder = Path(tempfile.mkdtemp(prefix="served-")).resolve()
        for name in ("index.html", "a.js", ".env"):
            (folder / name).write_text("secret" if name == ".env" else "x" * 3000)
        os.mkfifo(folder / "pipe.txt")
        (folder / "loop").symlink_to("loop")
        server, said = serve.start(folder, 0), []
        type(server).handle_error = lambda *_: said.append(repr(sys.exc_info()[1]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _serving.update(port=server.server_port, said=said, folder=folder)
    return _serving["port"]


def _said() -> list[str]:
    """What went wrong in the server since it was asked last."""
    wrong = [text for text in _serving["said"] if "Timeout" not in text]
    _serving["said"].clear()
    return [text for text in wrong if not text.startswith(("Connection", "BrokenPipe"))]


def _refused(work: Callable[[], object]) -> None:
    """Do it; an InputError is as good, and a TypeError for a call that Python would
    refuse.
    """
    from pltutorial import InputError

    with contextlib.suppress(InputError, TypeError):
        work()


def _commands() -> list[tuple[tuple[str, ...], object]]:
    """Every command with its words."""
    import typer

    from pltutorial.cli.app import app

    found = []

    def walk(click, path: tuple[str, ...]) -> None:
        if hasattr(click, "commands"):
            for name, below in sorted(click.commands.items()):
                walk(below, (*path, name))
        else:
            found.append((path, click))

    walk(typer.main.get_command(app), ())
    return found


def _package() -> Path:
    import pltutorial

    return Path(pltutorial.__file__).parent


# --- the campaign ---------------------------------------------------------------------


def one(name: str, number: int, seed: int, *, loud: bool = False) -> str | None:
    """Do one input in a folder of its own; what is wrong with it, None where nothing
    is.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    before, here = {}, Path.cwd()
    os.chdir(folder)
    signal.signal(signal.SIGALRM, _alarm)
    try:
        copied(_model(), folder)
        before = kept(folder)
        _written.clear()
        signal.setitimer(signal.ITIMER_REAL, SLOW)
        AREAS[name][1](random.Random(f"{seed} {name} {number}"))
    except TooSlow:
        return f"it took more than {SLOW:.0f} s"
    except BaseException as problem:
        if loud:
            traceback.print_exc()
        where = traceback.extract_tb(problem.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return f"{type(problem).__name__} at {place}: {ascii(str(problem))[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.chdir(here)
        after = kept(folder)
        shutil.rmtree(folder, ignore_errors=True)
    # what was named as an output, and as nothing else, may be another file now
    lost = [
        name
        for name, what in before.items()
        if after.get(name) != what and (what.startswith("0x") or name not in _written)
    ]
    if lost:
        return f"lost or changed: {lost}"
    left = [name for name in after if Path(name).name.startswith(".pltutorial-")]
    return f"left behind: {left}" if left else None


def _alarm(*_) -> None:
    raise TooSlow


_made: list[Path] = []


def _model() -> Path:
    """A folder that is made once in a process, see :func:`make_folder`."""
    if not _made:
        here, folder = Path.cwd(), Path(tempfile.mkdtemp(prefix="fuzz-model-"))
        os.chdir(folder)
        make_folder()
        os.chdir(here)
        _made.append(folder)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _made[0]


def plan(seed: int, inputs: int) -> list[tuple[str, int]]:
    """Area and number of each input."""
    weights = [weight for weight, _ in AREAS.values()]
    draw = random.Random(seed)
    return [
        (name, n) for n, name in enumerate(draw.choices([*AREAS], weights, k=inputs))
    ]


def work(seed: int, inputs: int, part: int, parts: int, start: int) -> None:
    """Do a part of the plan, and say each input before and after it."""
    import resource

    import psutil
    import torch

    import pltutorial.cli.app  # noqa: F401

    torch.set_num_threads(1)
    room = psutil.Process().memory_info().vms + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")  # what is tried may print, or close the stream
    mine = [one for one in plan(seed, inputs)[start:] if one[1] % parts == part]
    for name, number in mine:
        print(json.dumps([name, number]), file=answers, flush=True)
        begin = time.perf_counter()
        fault = one(name, number, seed)
        seconds = time.perf_counter() - begin
        print(json.dumps([fault, seconds]), file=answers, flush=True)


def campaign(seed: int, inputs: int, jobs: int, minutes: float) -> int:
    """Do all inputs, or those for which there is time; the number of faults."""
    end, lock = time.monotonic() + 60 * minutes, threading.Lock()
    done, faults, slowest = Counter(), [], (0.0, "")

    def run(part: int) -> None:
        nonlocal slowest
        start = 0
        while start < inputs and time.monotonic() < end:
            words = [__file__, "--seed", seed, "--inputs", inputs, "--part", part, jobs]
            process = subprocess.Popen(
                [sys.executable, *map(str, [*words, "--from", start])],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"PLTUTORIAL_PROGRESS": "off", "OMP_NUM_THREADS": "1"},
            )
            timer = threading.Timer(max(0, end - time.monotonic()), process.kill)
            timer.start()
            begun = None
            for line in process.stdout:
                said = json.loads(line)
                if begun is None:
                    begun = said
                    continue
                fault, seconds = said
                with lock:
                    done[begun[0]] += 1
                    slowest = max(slowest, (seconds, ":".join(map(str, begun))))
                    if fault is not None:
                        faults.append((*begun, fault))
                        print(f"{begun[0]}:{begun[1]}  {fault}", flush=True)
                begun = None
            timer.cancel()
            code = process.wait()
            if time.monotonic() >= end or code == 0:
                return
            with lock:
                where = begun or ["start", 0]
                faults.append((*where, f"the process ended with {code}"))
                print(f"{where[0]}:{where[1]}  {faults[-1][2]}", flush=True)
            if begun is None:
                return
            start = begun[1] + 1

    threads = [threading.Thread(target=run, args=(part,)) for part in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    areas = ", ".join(f"{name} {count}" for name, count in sorted(done.items()))
    print(f"{sum(done.values()):,} inputs with seed {seed}: {areas}")
    print(f"{len(faults)} faults; the slowest took {slowest[0]:.1f} s ({slowest[1]})")
    return len(faults)


def give_up_root() -> None:
    """Be an ordinary user; where none could read this Python, end with a sentence."""
    if os.geteuid() or os.environ.get("PLTUTORIAL_FUZZ_ROOT") == "1":
        return
    needed = [Path(sys.base_prefix), Path(sys.prefix), _package(), Path(__file__)]
    ways = {way for path in needed for way in (path, *path.resolve().parents)}
    if not all(way.stat().st_mode & stat.S_IXOTH for way in ways if way.is_dir()):
        sys.exit(
            "error: hostile inputs are not tried as root, and no other user can read "
            "this Python; start it as an ordinary user, or set PLTUTORIAL_FUZZ_ROOT=1"
        )
    os.environ["HOME"] = tempfile.mkdtemp(prefix="fuzz-home-")
    os.chown(os.environ["HOME"], NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400))
    parser.add_argument("--inputs", type=int, default=2400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=18)
    parser.add_argument("--only", help="one input, such as pictures:17")
    parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="start", type=int, default=0)
    given = parser.parse_args()
    os.environ["PLTUTORIAL_PROGRESS"] = "off"
    os.environ["TQDM_DISABLE"] = "1"
    give_up_root()
    if given.part:
        work(given.seed, given.inputs, *given.part, given.start)
    elif given.only:
        name, _, number = given.only.partition(":")
        print(one(name, int(number), given.seed, loud=True) or "right")
    else:
        sys.exit(bool(campaign(given.seed, given.inputs, given.jobs, given.minutes)))


if __name__ == "__main__":
    main()
