"""Limits before work: what lies, bursts, is no file or does not fit is refused in one
sentence before anything is built, unpacked or waited for.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import assert_refused, picture, refused

from pltutorial import (
    DenoisingNet,
    InputError,
    TransformNet,
    denoise,
    memory,
    read_image,
    resize,
    stylize,
    write_image,
    zoo,
)
from pltutorial.cli.options import read_config
from pltutorial.datasets import Pictures
from pltutorial.images import to_bytes
from pltutorial.networks import load_network, save_network
from pltutorial.networks.kinds import trainable
from pltutorial.settings import OptimizeSettings, TrainingSettings
from pltutorial.training import archives, train
from pltutorial.training.checkpoint import read_checkpoint, write_checkpoint

linux = pytest.mark.skipif(sys.platform != "linux", reason="pipes and rlimits of Linux")

# --- networks -------------------------------------------------------------------------


def forged(source: Path, target: Path, **facts: str) -> Path:
    """A network file with other facts in its head."""
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    head["__metadata__"] |= facts
    written = json.dumps(head).encode()
    target.write_bytes(struct.pack("<Q", len(written)) + written + data[8 + length :])
    return target


def config_of(source: Path) -> dict:
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])


def source_of(name: str, folder: Path) -> Path:
    """The file of a network that ships, or of a style that is cut out of one."""
    if name in (files := zoo.installed()):
        return files[name]
    network = zoo.load_style(name, "cpu").only(name)
    return save_network(folder / f"{name}.safetensors", network)


LIES = [0, -1, 3, 10**9, 10**30, 1.5, float("nan"), None, [], [[]], {}, "x", ["a"] * 9]


@pytest.mark.parametrize(
    "name",
    ["great_wave", "eight_styles", "upscale_x4_pixel", "inpaint_pixel", "vae_pixel"],
)
def test_an_architecture_that_is_not_that_of_the_weights(name, tmp_path):
    source, path = source_of(name, tmp_path), tmp_path / "lie.safetensors"
    config = config_of(source)
    for key, value in config.items():
        for lie in LIES:
            if lie == value or not (lie or value):  # no lie, or as good as none
                continue
            forged(source, path, config=json.dumps({**config, key: lie}))
            with refused("lie.safetensors") as caught:
                load_network(path, "cpu")
            assert len(str(caught.value)) < 600 + len(str(path))
    with refused("lie.safetensors", "does not know"):
        load_network(forged(source, path, config=json.dumps({**config, "new": 1})))


@pytest.mark.parametrize(
    "facts",
    [
        {"config": "[]"},
        {"config": "null"},
        {"config": '"fast"'},
        {"config": "[" * 100_000},
        {"config": "9" * 5000},
        {"config": '{"kind": ' + "9" * 5000 + "}"},
        {"config": json.dumps({"kind": "a" * 100_000})},
        {"config": json.dumps({"kind": ["fast"]})},
        {"card": "null"},
        {"card": "[1]"},
        {"card": "[" * 100_000},
        {"version": "9" * 5000},
        {"format": "9" * 5000},
    ],
    ids=lambda facts: "-".join(f"{k}-{v[:12]}" for k, v in facts.items()),
)
def test_facts_that_are_none(facts, tmp_path):
    source, path = zoo.installed()["eight_styles"], tmp_path / "lie.safetensors"
    forged(source, path, **facts)
    with refused("lie.safetensors") as caught:
        load_network(path, "cpu")
    assert len(str(caught.value)) < 600 + len(str(path))
    if "card" in facts or facts.get("config", "{")[0] != "{":
        with pytest.raises(InputError):
            zoo.available(tmp_path)


def test_weights_that_the_architecture_has_not(tmp_path):
    from safetensors.torch import load_file, save_file

    source, path = zoo.installed()["eight_styles"], tmp_path / "lie.safetensors"
    tensors = load_file(source)
    facts = {
        "format": "pltutorial-network",
        "version": "1",
        "config": json.dumps(config_of(source)),
    }
    first = sorted(tensors)[0]
    for changed in (
        {**tensors, "more": torch.zeros(3)},
        {name: tensor for name, tensor in tensors.items() if name != first},
        {**tensors, first: torch.zeros(7)},
    ):
        save_file(changed, path, facts)
        with refused("lie.safetensors", "by its architecture"):
            load_network(path, "cpu")
    save_file(tensors, path, facts)
    assert load_network(path, "cpu").config == config_of(source)


def test_checking_draws_nothing_and_loads_no_compiler():
    code = (
        "import sys, torch\n"
        "from pltutorial import zoo\n"
        "from pltutorial.networks.files import _shapes, read_header\n"
        "before = torch.get_rng_state()\n"
        "for name, path in zoo.installed().items():\n"
        "    if not name.endswith('discriminator'):  # spectral norms are computed\n"
        "        _shapes(read_header(path)[0], 10_000)\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "print({'sympy', 'torch._dynamo'} & set(sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.returncode) == ("set()", 0), ran.stderr


def test_a_network_that_cannot_be_trained_is_not_made(monkeypatch):
    monkeypatch.setattr("pltutorial.memory.free", lambda device: 10**6)
    with refused("so many weights", "lower width"), trainable():
        torch.nn.Sequential(*(torch.nn.Linear(100, 100) for _ in range(1000)))
    with trainable():
        torch.nn.Linear(100, 100)
    with refused("so many weights"), trainable():
        torch.nn.Linear(10**9, 10**9)
    torch.nn.Linear(1000, 1000)  # looked at no longer


# --- checkpoints ----------------------------------------------------------------------

FOREIGN = {
    "step": (-1, 2.5, "3", None, [1]),
    "seconds": ("1", float("nan"), None),
    "history": ([1], [(1, "x", {}, 0.0)], [(1, 1.0, {3: 1.0}, 0.0)], None, "abc"),
    "names": (None, [3], "ab"),
    "sums": ("x", torch.zeros(2, 3)),
    "broken": (None, (1, 2), (1, 2, [3]), (-1, 0, [])),
    "network": (None, {}, {"a": torch.zeros(1)}, "x"),
    "average": (None, {}, 3),
    "optimizer": (None, {}, {"state": {}, "param_groups": []}, "x"),
    "identity": (None, [], {}),
    "settings": (None, 3),
}


def test_checkpoints_with_foreign_contents(task, pictures, tmp_path):
    path = tmp_path / "checkpoint.pt"
    how = {"pictures": pictures, "folder": tmp_path, "callback": None}
    train(task(steps=2), **how)
    whole, right = read_checkpoint(path), path.read_bytes()

    def assert_foreign(state):
        write_checkpoint(path, state)
        kept = path.read_bytes()
        with refused("checkpoint.pt"):
            train(task(steps=4), **how)
        assert path.read_bytes() == kept

    for name, values in FOREIGN.items():
        for value in values:
            assert_foreign({**whole, name: value})
        assert_foreign({key: value for key, value in whole.items() if key != name})
    moments = whole["optimizer"]["state"]
    for wrong in ({}, {"step": 3}, {**moments[0], "exp_avg": torch.zeros(5)}):
        state = {**moments, 0: wrong} if wrong else {7: moments[0]}
        assert_foreign({**whole, "optimizer": {**whole["optimizer"], "state": state}})
    assert_foreign({**whole, "version": "9" * 5000})
    path.write_bytes(right)
    # options of the optimizer that others wrote are not taken over
    groups = [{**group, "eps": "x"} for group in whole["optimizer"]["param_groups"]]
    optimizer = {**whole["optimizer"], "param_groups": groups}
    write_checkpoint(path, {**whole, "optimizer": optimizer})
    assert train(task(steps=3), **how).steps == 3


def test_a_checkpoint_that_unpacks_to_more_than_it_is(tmp_path):
    import hashlib

    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", bytes(1 << 24))
    body = path.read_bytes()[:-2]
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(body + struct.pack("<H", 64) + digest)
    with refused("checkpoint.pt", "damaged"):
        read_checkpoint(path)


# --- pipes and devices ----------------------------------------------------------------


@linux
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
def test_what_is_no_file_is_refused_at_once(kind, command, photo, tmp_path):
    def odd(name: str) -> Path:
        path = tmp_path / name
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if kind == "device" else name)
        return path

    model, out = odd("net.safetensors"), tmp_path / "out.png"
    assert_refused(command("stylize", photo, "--model", model, "-o", out), "net.s")
    assert_refused(command("upscale", photo, "--model", model, "-o", out), "net.s")
    with refused("net.safetensors"):
        zoo.available(tmp_path)
    run = ("-o", tmp_path / "run", "--steps", 1, "--size", 32)
    config, shards = odd("a.yaml"), odd("a.tar")
    assert_refused(command("train", "denoise", *run, "--config", config), "a.yaml")
    if kind != "folder":
        assert_refused(command("train", "denoise", *run, "--data", shards), "a.tar")
        for name in ("a.gif", "a.png"):
            assert_refused(command("denoise", odd(name), "-o", out), name)
        folder = tmp_path / "pictures"
        folder.mkdir()
        (tmp_path / "a.png").rename(folder / "a.png")
        with refused("a.png"):
            Pictures(folder, 16)
    taken = odd("x.png")
    assert_refused(command("denoise", photo, "-o", taken), "x.png")
    assert taken.is_symlink() or not taken.is_file()  # it stays what it is
    (tmp_path / "run").mkdir(exist_ok=True)
    for name in ("log.csv", "checkpoint.pt", "network.safetensors"):
        path = odd(f"run/{name}") if kind != "loop" else odd(name)
        if kind == "loop":
            path = path.rename(tmp_path / "run" / name)
        assert_refused(command("train", "denoise", *run), name)
        path.rmdir() if kind == "folder" else path.unlink()


@linux
def test_a_record_of_progress_that_is_a_device_stays_there(
    command, tmp_path, monkeypatch
):
    pipe = tmp_path / "record.sqlite"
    os.mkfifo(pipe)
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(pipe))
    for options in ((), ("--reset", "--yes")):
        assert_refused(command("progress", *options), "is a named pipe")
    assert list(tmp_path.iterdir()) == [pipe]
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", os.devnull)
    assert_refused(command("progress"), "not recorded")


# --- archives -------------------------------------------------------------------------


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 1 << 20)


def test_a_bomb_in_a_zip_is_a_broken_picture(tmp_path, small_limit):
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("a.png", "w") as member,
    ):
        for _ in range(64):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    with refused("a.png", "unpacked"):
        Pictures(path, 16)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    with zipfile.ZipFile(path, "w") as packed:  # not packed at all
        packed.writestr("a.png", bytes(2 << 20))
    with refused("a.png", "unpacked"):
        Pictures(path, 16)


def zipped(tmp_path: Path, name: str = "a.png") -> bytes:
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(write_image(tmp_path / "p.png", picture(32, 32)), name)
    return (tmp_path / "one.zip").read_bytes()


@pytest.mark.parametrize("place", [20, 24, 42])
def test_sizes_and_places_in_a_table_that_cannot_be(place, tmp_path):
    data, path = bytearray(zipped(tmp_path)), tmp_path / "odd.zip"
    entry = data.index(b"PK\1\2") + place
    for value in (0xFFFFFFFE, 0x7FFFFFFF, len(data) + 1):
        data[entry : entry + 4] = struct.pack("<I", value)
        path.write_bytes(data)
        if place == 24:  # what it would be unpacked is not believed anyway
            assert len(Pictures(path, 16)) == 1
            continue
        with refused("odd.zip"):
            Pictures(path, 16)


def test_names_in_a_table_that_cannot_be(tmp_path):
    path = tmp_path / "odd.zip"
    path.write_bytes(zipped(tmp_path, "a" * 60_000 + ".png"))
    with refused("odd.zip", "no name"):
        Pictures(path, 16)
    data = bytearray(zipped(tmp_path))
    entry = data.index(b"PK\1\2")
    data[entry + 9] |= 8  # its name is UTF-8, it says
    data[entry + 46] = 0xFF
    path.write_bytes(data)
    with refused("odd.zip"):
        Pictures(path, 16)


@pytest.mark.parametrize("size", [2**33, 2**63 - 1])
def test_a_member_of_a_tar_larger_than_the_tar(size, tmp_path):
    path = tmp_path / "odd.tar"
    entry = tarfile.TarInfo("a.png")
    entry.size = size
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with refused("odd.tar"):
        Pictures(path, 16)


@pytest.mark.parametrize(
    "pattern",
    [
        "x-{0..99999999}.tar",
        "x-{0..999999999999999999}.tar",
        "x-{0.." + "9" * 5000 + "}.tar",
        "{a,b}" * 40 + ".tar",
        "{a,b}" * 2000 + ".tar",
        "{" * 5000 + "a" + "}" * 5000,
        "x-{9..0}.tar",
    ],
    ids=lambda pattern: pattern[:24],
)
def test_patterns_of_shards_are_looked_at_one_by_one(pattern, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused() as caught:
        archives.find_pictures(pattern)
    assert len(str(caught.value)) < 400 or len(pattern) > 5000


def test_a_name_with_braces_that_exists_is_that_file(tmp_path):
    zipped(tmp_path)
    path = (tmp_path / "one.zip").rename(tmp_path / "a{1..3},{b}.zip")
    assert len(archives.find_pictures(path)) == 1


# --- YAML -----------------------------------------------------------------------------

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 15)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 15)
)


@pytest.mark.parametrize(
    "text",
    [
        "steps: 2020-13-45",
        "steps: !!int abc",
        "steps: !!float abc",
        "steps: !!bool abc",
        "steps: !!timestamp abc",
        "steps: !!binary 'ä'",
        "steps: !!python/object/apply:os.system [ls]",
        "steps: " + "9" * 5000,
        "steps: 0x" + "f" * 5000,
        "0x" + "f" * 5000 + ": 1",
        "steps: " + "{a: " * 3000 + "1" + "}" * 3000,
        "steps: " + "[" * 30 + "1" + "]" * 30,
        "- " * 3000 + "1",
        "steps: *nothing",
        "? [a, b]\n: 3",
        "? {a: b}\n: 3",
        "steps: [1, 2]",
        "learning_rate: " + "9" * 4000,
        "zoom: {a: 1}",
        "zoom: [[[1]]]",
        "a" * 5000 + ": 1",
        LAUGHS + "steps: *a14",
        MERGED,
        "\0",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "#" + "x" * 1_000_001,
    ],
    ids=lambda text: text[:20],
)
def test_a_configuration_that_is_none(text, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    known = {"steps": int, "learning_rate": float, "zoom": tuple[float, ...]}
    with refused() as caught:  # what YAML can hold, the settings refuse
        TrainingSettings(**read_config(path, known))
    assert len(str(caught.value)) < 400 + len(str(path))


def test_aliases_of_single_values_are_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("steps: &s 12\nlog_every: *s\nzoom: [1, 1.5]\n")
    known = {"steps": int, "log_every": int, "zoom": tuple[float, ...]}
    wanted = {"steps": 12, "log_every": 12, "zoom": (1.0, 1.5)}
    assert read_config(path, known) == wanted


# --- numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": "many"},
        {"steps": 2.5},
        {"steps": None},
        {"steps": [3]},
        {"steps": 10**30},
        {"steps": int("9" * 4000) ** 2},
        {"seed": -(10**30)},
        {"batch_size": 10**9},
        {"size": 10**9},
        {"workers": 10**9},
        {"learning_rate": "fast"},
        {"learning_rate": 10**400},
        {"learning_rate": float("nan")},
        {"betas": "ab"},
        {"betas": (0.9, "x")},
        {"zoom": None},
        {"zoom": 1.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_numbers_of_a_training(wrong):
    (name,) = wrong
    with refused(name) as caught:
        TrainingSettings(**wrong)
    assert len(str(caught.value)) < 300


def test_numbers_of_an_optimisation():
    for wrong in ({"seed": 10**30}, {"steps": "x"}, {"history_size": 10**9}):
        with refused(next(iter(wrong))):
            OptimizeSettings(**wrong)
    import numpy

    settings = OptimizeSettings(steps=numpy.int64(3), learning_rate=numpy.float32(0.5))
    assert settings.steps == 3


def test_numbers_on_the_command_line(command, photo, tmp_path):
    run = ("train", "style", "-o", tmp_path / "run", "--size", 64)
    for option in ("--seed", "--width", "--blocks", "--batch-size", "--steps"):
        code, _, errors = command(*run, option, "9" * 30)
        assert (code, errors.count("Traceback")) == (2, 0)
    assert not (tmp_path / "run").exists()
    code, _, errors = command("stylize", photo, "--size", "9" * 4000, "-o", "x.png")
    assert (code, errors.count("Traceback")) == (2, 0)


# --- sides of formats, and memory -----------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "side"), [(".webp", 16_384), (".jpg", 65_501), (".jpeg", 65_501)]
)
def test_a_side_that_a_format_does_not_hold(ending, side, tmp_path):
    path = tmp_path / f"x{ending}"
    with refused(f"{side - 1:,}", ".png"):
        write_image(path, torch.zeros(1, 3, 2, side))
    assert not path.exists()
    image = torch.zeros(1, 3, 2, side - 1)
    assert read_image(write_image(path, image)).shape == image.shape


def test_the_side_is_looked_at_before_the_work(command, tmp_path, monkeypatch):
    def never(*given, **rest):
        raise AssertionError("it was begun")

    wide = write_image(tmp_path / "wide.png", torch.zeros(1, 3, 16, 4200))
    long = write_image(tmp_path / "long.png", torch.zeros(1, 3, 16_400, 16))
    monkeypatch.setattr("pltutorial.apply.in_tiles", never)
    monkeypatch.setattr("pltutorial.tasks.style.apply", never)
    monkeypatch.setattr("pltutorial.optimize.optimize_image", never)
    out, style = tmp_path / "out.webp", ("--style", "great_wave")
    assert_refused(command("upscale", wide, "-o", out), "16800x64", "16,383")
    assert_refused(command("denoise", long, "-o", out), "16x16400", "16,383")
    assert_refused(command("stylize", long, *style, "-o", out), "16x16400")
    grown = ("--size", 20_000)
    assert_refused(command("stylize", wide, *style, *grown, "-o", out), "20000x")
    assert_refused(
        command("transfer", long, "poppies", "--sizes", 16_400, "-o", out), "16,383"
    )


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A tree of control groups, and what this process says of its own."""
    monkeypatch.setattr(memory, "_SYSTEM", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")

    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return make


def test_control_groups_of_version_2(groups):
    groups(
        "0::/user.slice/mine.scope\n",
        {
            "user.slice/memory.max": "300000000\n",
            "user.slice/memory.current": "250000000\n",
            "user.slice/memory.stat": "anon 9\ninactive_file 50000000\n",
            "user.slice/mine.scope/memory.max": "max\n",
            "user.slice/mine.scope/memory.current": "5\n",
            "user.slice/mine.scope/memory.stat": "inactive_file 1\n",
        },
    )
    # caches make room when it is needed
    assert (memory.free(), memory.total()) == (100_000_000, 300_000_000)


def test_control_groups_of_version_1(groups):
    groups(
        "5:cpu:/x\n4:memory:/docker/abc\n",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": "10",
            "memory/memory.stat": "",
            "memory/docker/abc/memory.limit_in_bytes": "200000000",
            "memory/docker/abc/memory.usage_in_bytes": "150000000",
            "memory/docker/abc/memory.stat": "total_inactive_file 20000000",
        },
    )
    assert (memory.free(), memory.total()) == (70_000_000, 200_000_000)


def test_a_container_sees_its_own_group_as_the_root(groups):
    files = {"memory.max": "80000000", "memory.current": "30000000", "memory.stat": ""}
    groups("0::/\n", files)
    assert memory.free() == 50_000_000


@linux
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process(limit, monkeypatch):
    import psutil

    used = psutil.Process().memory_info()
    used = used.vms if limit == "RLIMIT_AS" else used.data
    asked = getattr(resource, limit)
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(
        resource,
        "getrlimit",
        lambda which: (used + 50_000_000, -1) if which == asked else infinite,
    )
    assert memory.free() <= 60_000_000
    with refused("GB"):
        resize(picture(16, 16), 10_000)


def test_a_picture_that_does_not_fit_is_not_decoded(tmp_path, monkeypatch):
    from PIL import Image

    path = tmp_path / "big.png"
    Image.new("RGB", (4000, 4000)).save(path)
    monkeypatch.setattr("pltutorial.memory.free", lambda device: 10**8)
    with refused("16,000,000 pixels", "0.1 GB"):
        read_image(path)


MEASURE = """
import re, sys, torch
torch.set_num_threads(1)
import pltutorial
from pltutorial import apply, zoo
from pltutorial.tasks import style

def now(name):
    status = open("/proc/self/status").read()
    return 1024 * int(re.search(name + r":\\s+(\\d+)", status)[1])

asked = []
def noted(real):
    def ask(*given):
        asked.append(real(*given))
        return asked[-1]
    return ask
apply.memory_needed = noted(apply.memory_needed)
style.memory_needed = noted(style.memory_needed)

def work(side):
    image = torch.rand(1, 3, side, side)
    if sys.argv[1].endswith("bytes"):
        image = pltutorial.images.to_bytes(image)
    if sys.argv[1].startswith("denoise"):
        return pltutorial.denoise(image, precision="float32")
    if sys.argv[1] == "stylize":
        return pltutorial.stylize(image, "great_wave", precision="float32")
    return pltutorial.colorize(image, precision="float32")

work(64)
open("/proc/self/clear_refs", "w").write("5")
before = now("VmRSS")
work(int(sys.argv[2]))
needed = asked[-1] if isinstance(asked[-1], int) else sum(asked[-1])
print(needed / (now("VmHWM") - before))
"""


@linux
@pytest.mark.parametrize(
    "how", ["stylize 1024", "colorize 512", "denoise 768", "denoise-bytes 768"]
)
def test_the_estimate_of_memory_is_near_the_truth(how):
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *how.split()], capture_output=True, text=True
    )
    assert 1 / 1.5 < float(ran.stdout) < 1.5, ran.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: 1\nwidth: 2\nsteps: 3", ("'steps' twice", "lines 1 and 3")),
        ("batch-size: 1\nbatch_size: 2", ("'batch_size' twice", "with - and with _")),
    ],
)
def test_a_setting_is_set_once(text, words, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with refused(*words):
        read_config(path, {"steps": int, "width": int, "batch_size": int})


def test_a_network_of_no_numbers_makes_no_picture(command, tmp_path):
    network = DenoisingNet(width=8, blocks=1)
    torch.nn.init.constant_(network.last.weight, float("nan"))
    model = save_network(tmp_path / "broken.safetensors", network)
    image = picture(32, 32)
    with refused("NaN or infinite"):
        denoise(image, network=network)
    with refused("NaN or infinite"):
        denoise(to_bytes(image), network=network)
    photo, output = write_image(tmp_path / "in.png", image), tmp_path / "out.png"
    outcome = command("denoise", photo, "--model", model, "-o", output)
    assert_refused(outcome, "NaN or infinite", "another network")
    assert not output.exists()
    style = TransformNet(width=4, blocks=1)
    torch.nn.init.constant_(style.last.conv.weight, float("inf"))
    with refused("NaN or infinite"):
        stylize(image, network=style)


@pytest.mark.parametrize(("output", "said"), [("", "missing"), ("-", "a folder")])
def test_a_run_needs_a_folder_of_its_own(output, said, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(command("train", "denoise", "--steps", "1", "-o", output), said)
    assert not list(tmp_path.iterdir())
