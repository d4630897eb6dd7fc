"""The recipes of the page on many machines run: two and four processes take the steps
of one, under DDP and FSDP2; no picture is read twice; what starts them is in step.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
import yaml
from helpers import assert_sentence, picture, refused
from PIL import Image
from torch import nn
from torch.distributed.run import get_args_parser

from pltutorial import LossNetwork, PerceptualLoss, bundled, read_image, write_image
from pltutorial.networks import TransformNet
from pltutorial.training.pictures import Pictures

ROOT = Path(__file__).resolve().parent.parent
MACHINES = ROOT / "book" / "machines"
NAMES = ("checkpoints", "pack_shards", "shards", "train")
sys.path.insert(0, str(MACHINES))
try:
    checkpoints, pack_shards, shards, train = map(importlib.import_module, NAMES)
finally:
    sys.path.remove(str(MACHINES))

TINY = ["--size=32", "--width=4", "--batch=4", "--steps=4", "--every=2"]
TINY += ["--content=relu1_2", "--layers=relu1_1,relu1_2"]  # a loss of two layers
# float32 sums of other groups of pictures, and four steps of Adam from there on
SAME = 1e-4
DRIVER = """
import json, sys
import torch.distributed as dist
from train import options, train_loop
dist.init_process_group()
for arguments in json.loads(sys.argv[1]):
    found = train_loop(options(arguments))
    print(f"all losses of rank {dist.get_rank()}: {json.dumps(found)}", flush=True)
dist.destroy_process_group()
"""


def torchrun(processes: int, *arguments: str) -> str:
    """What the processes printed."""
    left_out = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    path = [str(MACHINES), str(ROOT), environment.get("PYTHONPATH", "")]
    environment |= {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path),
        "PLTUTORIAL_PRECISION": "float32",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node"]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(processes), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        write_image(folder / f"{number}.png", picture(40, 44, seed=number))
    return folder


@pytest.fixture(scope="module")
def alone(photos) -> list[float]:
    """The losses of one process with the whole batch, in a loop of its own."""
    torch.manual_seed(0)
    network = TransformNet(4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    pictures, losses = Pictures(photos, 32), []
    content, style = {"relu1_2": 1.0}, {"relu1_1": 1.0, "relu1_2": 1.0}
    phi = LossNetwork(precision="float32")
    loss = PerceptualLoss(content, style, normalization="relative", network=phi)
    painting = read_image(bundled("style/great_wave"), 32)
    for step in range(4):
        images = torch.stack([pictures[4 * step + k][0] for k in range(4)])
        optimizer.zero_grad()
        total = loss(network(images), content=images, style=painting).total
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[3] < 0.9 * losses[0]  # it learns, so that equal is not empty
    return losses


@pytest.fixture(scope="module")
def two(photos, tmp_path_factory) -> tuple[str, Path]:
    """The script itself, as a reader starts it, in two processes."""
    folder = tmp_path_factory.mktemp("two")
    script = str(MACHINES / "train.py")
    return torchrun(2, script, *TINY, f"--data={photos}", f"--folder={folder}"), folder


@pytest.fixture(scope="module")
def four(photos, two, tmp_path_factory) -> str:
    """Its loop in four processes, which are started once: DDP, FSDP2, FSDP2 from what
    two processes under DDP had saved half way, and each its own shards.
    """
    folder = tmp_path_factory.mktemp("four")
    (folder / "resumed").mkdir()
    (two[1] / "00000004").rename(folder / "not half way")
    (two[1] / "00000002").rename(folder / "resumed" / "00000002")
    pack_shards.pack(photos, folder / "shards", 4)
    data, fsdp = f"--data={photos}", "--parallel=fsdp"
    runs = [
        [*TINY, data, f"--folder={folder / 'ddp'}"],
        [*TINY, data, f"--folder={folder / 'fsdp'}", fsdp],
        [*TINY, data, f"--folder={folder / 'resumed'}", fsdp],
        [
            *TINY,
            f"--data={folder / 'shards'}",
            "--own-shards",
            f"--folder={folder}/own",
        ],
    ]
    driver = folder / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    return torchrun(4, str(driver), json.dumps(runs))


def weights(said: str, world: int) -> list[list[str]]:
    """For each run, what each rank says of its weights."""
    found = re.findall(rf"rank (\d) of {world}: weights ([0-9a-f]{{16}})", said)
    ranks = [[digest for rank, digest in found if rank == str(r)] for r in range(world)]
    return [list(run) for run in zip(*ranks, strict=True)]


def losses_of(said: str, rank: int) -> list[list[float]]:
    found = re.findall(rf"all losses of rank {rank}: (\[.*?\])", said)
    return [json.loads(text) for text in found]


def test_the_script_in_two_processes_is_one_process(two, alone):
    said, _ = two
    (same,) = weights(said, 2)
    assert len(set(same)) == 1
    for rank in range(2):
        found = re.findall(rf"rank {rank}: step (\d), loss ([\d.]+)", said)
        assert [int(step) for step, _ in found] == [2, 4]
        for step, loss in found:
            assert float(loss) == pytest.approx(alone[int(step) - 1], rel=SAME)


def test_four_processes_are_one_under_ddp_and_fsdp2(four, alone):
    runs = weights(four, 4)
    assert len(runs) == 4
    assert all(len(set(run)) == 1 for run in runs)
    for rank in range(4):
        ddp, fsdp, resumed, own = losses_of(four, rank)
        assert ddp == pytest.approx(alone, rel=SAME)
        assert fsdp == pytest.approx(ddp, rel=SAME)
        # on from two processes under DDP, here in four under FSDP2
        assert resumed == pytest.approx(alone[2:], rel=SAME)
        assert len(own) == 4


def test_another_batch_would_be_seen(alone, photos):
    """The comparisons above are no empty ones: half of the batch has another loss."""
    torch.manual_seed(0)
    pictures = Pictures(photos, 32)
    images = torch.stack([pictures[k][0] for k in range(2)])
    phi = LossNetwork(precision="float32")
    loss = PerceptualLoss(
        {"relu1_2": 1.0},
        {"relu1_1": 1.0, "relu1_2": 1.0},
        normalization="relative",
        network=phi,
    )
    painting = read_image(bundled("style/great_wave"), 32)
    total = loss(TransformNet(4)(images), content=images, style=painting).total
    assert float(total.detach()) != pytest.approx(alone[0], rel=10 * SAME)


# --- shards ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """48 pictures of one grey each, in 8 shards; picture n has the grey 5 n."""
    folder = tmp_path_factory.mktemp("greys")
    for number in range(48):
        grey = torch.full((3, 20, 20), 5 * number / 255)
        write_image(folder / f"{number:02d}.png", grey[None])
    target = folder.parent / "shards"
    assert set(pack_shards.pack(folder, target, 8).values()) == {6}
    again = folder.parent / "again"
    pack_shards.pack(folder, again, 8)
    for path in sorted(target.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes()
    return target


def seen(images: torch.Tensor) -> list[int]:
    return [round(float(image.mean()) * 255 / 5) for image in images]


def test_a_shard_is_what_webdataset_reads(packed):
    """Pairs of one key, next to each other; the text is the name it had."""
    with tarfile.open(packed / "000003.tar") as archive:
        names = archive.getnames()
        texts = [archive.extractfile(n).read().decode() for n in names[1::2]]
    assert [n[:8] for n in names[::2]] == [n[:8] for n in names[1::2]]
    assert {n[8:] for n in names[::2]} == {".jpg"}
    assert {n[8:] for n in names[1::2]} == {".txt"}
    assert [f"{int(n[:8]):02d}.png" for n in names[1::2]] == texts


def own(folder: Path, steps: int, batch: int = 2, **how) -> list[int]:
    """The pictures of so many steps of one process."""
    found = shards.own_batches(folder, 16, batch, **how)
    return [number for _ in range(steps) for number in seen(next(found))]


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (4, 0), (2, 2)])
def test_each_picture_once_in_an_epoch(packed, world, workers):
    """Over all processes and workers; and in the next epoch in another order."""
    steps = 48 // (2 * world)
    orders = [
        own(packed, 2 * steps, rank=rank, world=world, workers=workers)
        for rank in range(world)
    ]
    first = [order[: 2 * steps] for order in orders]
    second = [order[2 * steps :] for order in orders]
    for epoch in (first, second):
        assert sorted(number for order in epoch for number in order) == [*range(48)]
    assert first != second


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_with_the_picture_that_comes_next(packed, workers):
    whole = own(packed, 14, rank=1, world=2, workers=workers)
    for start in (5, 13):  # the second epoch begins at step 12
        rest = own(packed, 14 - start, rank=1, world=2, workers=workers, start=start)
        assert rest == whole[2 * start :]


def test_no_shard_is_two_readers_and_all_take_equally_many_steps():
    """Of any number of shards, whatever they hold."""
    sizes = {f"{n:06d}.tar": 3 + n % 4 for n in range(11)}
    for epoch in range(3):
        hands = shards.deal(sizes, 4, epoch)
        assert sorted(name for hand in hands for name in hand) == sorted(sizes)
        steps = shards.common(sizes, hands, 2)
        assert all(2 * steps <= sum(sizes[name] for name in hand) for hand in hands)
    with refused("3 shards", "4 readers"):
        shards.deal(dict.fromkeys("abc", 1), 4)


def test_what_shards_cannot_give_is_a_sentence(packed, photos, tmp_path):
    with refused("fewer than the 9 pictures", "smaller batch"):
        next(shards.own_batches(packed, 16, 9, world=8))
    config = train.options([*TINY, f"--data={photos}"])
    with refused("a batch of 4", "a multiple of 3"):
        shards.batches(config, 0, 3, torch.device("cpu"))
    with refused("7 shards of 6 pictures", "no more than"):
        pack_shards.pack(photos, tmp_path, 7)
    (tmp_path / "taken").touch()
    with refused("'", "taken' cannot be made", "another place"):
        pack_shards.pack(photos, tmp_path / "taken", 1)
    with refused("sizes.json' does not exist", "pack_shards.py"):
        next(shards.own_batches(tmp_path, 16, 1))
    for text, fault in (
        ("{", "is no JSON"),
        ("[3]", "does not say how many"),
        ('{"000000.tar": "3"}', "does not say how many"),
        ('{"000000.tar": -3}', "does not say how many"),
    ):
        (tmp_path / "sizes.json").write_text(text)
        with refused(fault, "pack_shards.py"):
            next(shards.own_batches(tmp_path, 16, 1))


@pytest.mark.parametrize(
    "word",
    ["steps=0", "batch=-4", "size=0", "every=0", "workers=-1", "rate=nan", "rate=-1"],
)
def test_numbers_with_which_nothing_is_trained(word, photos):
    config = train.options([*TINY, f"--data={photos}", f"--{word}"])
    name, _, value = word.partition("=")
    with refused(f"--{name} {value}", "give"):
        shards.batches(config, 0, 1, torch.device("cpu"))


def test_a_checkpoint_of_another_network_is_a_sentence(tmp_path):
    def made(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(width, 2)
        return model, torch.optim.Adam(model.parameters())

    folder = tmp_path / "run"
    checkpoints.save(str(folder), 2, *made(3))
    (folder / "my notes").mkdir()
    (folder / "my notes" / ".metadata").touch()
    assert checkpoints.load(str(folder), *made(3)) == 2
    with refused("00000002' is damaged or of another network", "another --folder"):
        checkpoints.load(str(folder), *made(4))
    for part in (folder / "00000002").glob("*.distcp"):
        part.write_bytes(b"cut")
    with refused("00000002' is damaged"):
        checkpoints.load(str(folder), *made(3))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.py", "--steps", "1"], "torchrun --nproc-per-node 1"),
        (["pack_shards.py", "nothing", "out"], "nothing"),
    ],
)
def test_a_script_ends_in_one_sentence(tmp_path, words, said):
    known = {k: v for k, v in os.environ.items() if k not in ("RANK", "MASTER_ADDR")}
    ran = subprocess.run(
        [sys.executable, MACHINES / words[0], *words[1:]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=known | {"PYTHONPATH": str(MACHINES.parents[1])},
    )
    assert ran.returncode == 2
    assert_sentence(ran.stderr.removeprefix("error: ").rstrip("\n"), said)


def test_larger_pictures_are_made_smaller(tmp_path):
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.png", picture(60, 90))
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    assert pack_shards.pack(tmp_path / "in", tmp_path / "out", 1, 30) == {
        "000000.tar": 1
    }
    with tarfile.open(tmp_path / "out" / "000000.tar") as archive:
        (name,) = [n for n in archive.getnames() if n.endswith(".jpg")]
        assert Image.open(archive.extractfile(name)).size == (45, 30)


def test_the_package_webdataset_reads_them(packed):
    pytest.importorskip("webdataset")
    found = [*shards.with_webdataset(packed, 16, 2)]
    numbers = [n for images, _ in found for n in seen(images)]
    assert sorted(numbers) == [*range(48)]
    names = [int(text[:2]) for _, texts in found for text in texts]
    assert names == numbers


# --- what starts them -----------------------------------------------------------------


def documents(name: str) -> list[dict]:
    text = (MACHINES / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def test_the_manifest_starts_the_script():
    service, job = documents("job.yaml")
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][0].endswith("/torchrun")
    arguments = get_args_parser().parse_args(container["args"])  # refuses what is not
    assert arguments.training_script == "train.py"
    config = train.options(arguments.training_script_args)  # as does this
    nodes, each = int(arguments.nnodes), int(arguments.nproc_per_node)
    assert nodes == spec["completions"] == spec["parallelism"]
    assert spec["completionMode"] == "Indexed"
    resources = container["resources"]
    for kind in ("requests", "limits"):
        assert resources[kind]["nvidia.com/gpu"] == each
    assert int(resources["requests"]["cpu"]) >= each * (1 + config["workers"])
    assert config["batch"] % (nodes * each) == 0
    # pod 0 is where the others look for it, by the service and its port
    host, port = arguments.rdzv_endpoint.rsplit(":", 1)
    assert host == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["ports"][0]["port"] == int(port)
    # what the script reads and writes is mounted, and outlives a pod
    places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert places.keys() == {"/dev/shm", "/data", "/checkpoints"}
    assert volumes[places["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    for name, place in (("data", "/data"), ("folder", "/checkpoints")):
        assert config[name].startswith(f"{place}/")
        assert "persistentVolumeClaim" in volumes[places[place]]
    assert pod["restartPolicy"] == "OnFailure"
    assert config["steps"] > config["every"] > 0


def test_accelerate_takes_its_file():
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    path = MACHINES / "accelerate.yaml"
    config = load_config_from_file(str(path))  # refuses names that it does not know
    assert config.num_processes == 8 * config.num_machines == 32
    text = path.read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   (accelerate launch .*\\\n#     .*)$", text, re.M)
    words = re.sub(r"\\\n#", " ", command).split()[2:]
    words[words.index("R")] = "3"
    given = launch_command_parser().parse_args(words)
    assert given.config_file == path.name
    assert (given.machine_rank, given.module) == (3, True)
    assert [given.training_script, *given.training_script_args][:3] == [
        "pltutorial",
        "train",
        "style",
    ]


def test_ray_takes_the_same_loop():
    source = (MACHINES / "ray_train.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    taken = {
        name.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert (taken["train_loop"], taken["options"]) == ("train", "train")
    assert taken["TorchTrainer"] == "ray.train.torch"
    if importlib.util.find_spec("ray") is not None:
        sys.path.insert(0, str(MACHINES))
        try:
            assert callable(importlib.import_module("ray_train").main)
        finally:
            sys.path.remove(str(MACHINES))


def test_the_script_is_short():
    for name, most in (("train", 70), ("checkpoints", 80), ("ray_train", 60)):
        lines = (MACHINES / f"{name}.py").read_text(encoding="utf-8").splitlines()
        assert len(lines) <= most, name
