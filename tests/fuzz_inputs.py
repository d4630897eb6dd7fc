"""What the fuzz campaign tries: a function for each area, which makes one input of a
command, of the Python functions or of the server.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import io
import json
import os
import random
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

from fuzz_material import NUMBERS, PLAIN, WORDS, anything, changed

# --- areas: each gives a function that does one input ---------------------------------

written: set[str] = set()
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
    from pltutorial.cli.usage import obey

    words = [str(word) for word in words]
    outputs = {after for word, after in pairwise(words) if word in ("-o", "--output")}
    written.update(word for word in outputs if words.count(word) == 1)
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in "ab"
    )
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(given)), out, err
    try:
        obey(app, words)
    except InputError as problem:
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


# not of a picture, or only of one that takes long; options() tries them
NO_PICTURE = {"texture", "reconstruct", "export"}
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


def _seed(draw: random.Random) -> Path:
    """One of the pictures that are there."""
    seeds = [p for p in sorted(Path().glob("*.*")) if p.is_file() and p.stat().st_size]
    others = (".zip", ".tar", ".safetensors", ".yaml")
    return draw.choice([p for p in seeds if p.suffix not in others])


@area(10)
def pictures(draw: random.Random) -> None:
    """Damaged pictures, as files and through a pipe."""
    seed = _seed(draw)
    data = changed(seed.read_bytes(), draw)
    name = draw.choice(takers())
    out = draw.choice(("out.png", "out.png", "out.webp", "out.jpg", "out.gif"))
    if draw.random() < 0.2:
        command(name, "-", *QUICK.get(name, ()), "-o", out, given=data)
        return
    bad = Path(f"bad{draw.choice((seed.suffix, seed.suffix, '.png', '.jfif'))}")
    bad.write_bytes(data)
    command(name, bad, *QUICK.get(name, ()), "-o", out)


@area(3)
def beside(draw: random.Random) -> None:
    """A damaged picture as a style, as a mask, and where pictures are measured."""
    seed = draw.choice(("ok.png", "ok.jpg", "deep.png", "ok.gif"))
    Path("bad.png").write_bytes(changed(Path(seed).read_bytes(), draw))
    calls = (
        ("stylize", "ok.png", "--style", "bad.png", "--size", "24", "-o", "out.png"),
        ("transfer", "ok.png", "bad.png", *QUICK["transfer"][1:], "-o", "out.png"),
        ("inpaint", "ok.png", "bad.png", "-o", "out.png"),
        ("compare", "bad.png", "ok.png"),
        ("measure", ".", ".", "--size", "32"),
    )
    command(*draw.choice(calls))


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
    name = draw.choice([name for name in takers() if name != "transfer"])
    if draw.random() < 0.2:
        command("sample", "--model", "bad.safetensors", "--count", "1", "-o", "out.png")
    else:
        command(name, "ok.png", "--model", "bad.safetensors", "-o", "out.png")


@area(8)
def yaml(draw: random.Random) -> None:
    """Configurations of runs."""
    recipes = sorted((package() / "assets" / "recipes").glob("*.yaml"))
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
    task = draw.choice([path[1] for path, _ in _commands() if path[0] == "train"])
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
    plain = [None, 0, 1, -1, 2, 10**30, 0.5, -0.5, float("nan"), True, object(), b"x"]
    plain += [[], {}, (), ["relu1_1"], {"relu1_1": 1.0}, Path("out.png"), *PLAIN]
    tensors = [image[0], image[:, :1], image[..., :0], image.double(), image.half()]
    tensors += [image > 0.5, image.mul(255).to(torch.uint8), image * float("nan")]
    tensors += [image * 300, image.repeat(2, 1, 1, 1), torch.tensor(0.5), image, image]
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
            values = tensors if "Tensor" in str(parameter.annotation) else plain
            values = plain if draw.random() < 0.1 else values
            given[parameter.name] = draw.choice(values)
        elif parameter.name in quick:
            given[parameter.name] = quick[parameter.name]
    written.update(("ok.png", "out.png"))
    _refused(lambda: function(**given))


_DUCKS = ("network", "one", "other", "settings", "task", "objective", "callback")
_DUCKS += ("encoder", "discriminator", "adversary", "change", "changes", "lpips")
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


@area(5)
def posted(draw: random.Random) -> None:
    """Damaged pictures and odd queries that are sent to the service."""
    from pltutorial.cli.offers import offers

    data = _seed(draw).read_bytes()
    data = changed(data, draw) if draw.random() < 0.7 else data
    name = draw.choice(sorted(offers()))
    known = ["loss", "format", "nothing", *(o.name for o in offers()[name].options)]
    query = {"style": "great_wave"} if name == "stylize" else {}
    for _ in range(draw.choice((0, 0, 1, 2))):
        words = draw.choice((WORDS, NUMBERS, ("4", "pixel", "webp", "true", "0.5")))
        query[draw.choice(known)] = str(draw.choice(words))
    path = f"/v1/{name}?{urlencode(query, errors='replace')}"
    connection = http.client.HTTPConnection("127.0.0.1", _service(), timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, data)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        said = json.loads(body)["error"]
        if answer.status == 500 or "\n" in said or not said.isprintable():
            raise AssertionError(f"answered {answer.status}, {said!r}")


def _service() -> int:
    """The port of the service of this process."""
    if "service" not in _serving:
        from pltutorial.cli import api

        settings = api.ServiceSettings(max_pixels=100_000, device="cpu")
        service = api.Service(settings)
        server = api.start(service, 0)
        service.worker.start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _serving["service"] = server.server_port
    return _serving["service"]


_serving: dict = {}


def _server() -> int:
    """The port of a server of a small folder, of this process."""
    if "port" not in _serving:
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
    """Do it; an InputError is as good, and what Python says of a value of another type
    than a function is for.
    """
    from pltutorial import InputError

    with contextlib.suppress(InputError, TypeError, AttributeError):
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


def takers() -> list[str]:
    """The commands that make a picture of a picture: no new one is forgotten."""
    return [
        path[0]
        for path, click in _commands()
        if path[0] not in NO_PICTURE
        and any(p.param_type_name == "argument" for p in click.params)
        and any("--output" in p.opts for p in click.params)
    ]


def package() -> Path:
    import pltutorial

    return Path(pltutorial.__file__).parent
