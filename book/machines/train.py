"""A transformation network and a perceptual loss, in any number of processes.

torchrun --nproc-per-node 2 train.py --data pictures --parallel fsdp --folder run
"""

from argparse import ArgumentParser

import checkpoints
import torch
import torch.distributed as dist
from shards import batches, joined
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from pltutorial import PerceptualLoss, best_device, bundled, errors, read_image
from pltutorial.networks import TransformNet

DEFAULTS = {"data": "", "folder": "run", "style": str(bundled("style/great_wave"))}
DEFAULTS |= {"steps": 40_000, "batch": 32, "size": 256, "width": 32, "rate": 1e-3}
DEFAULTS |= {"workers": 0, "every": 500}  # batch: of all processes together
DEFAULTS |= {"content": "relu3_3", "layers": "relu1_2,relu2_2,relu3_3,relu4_3"}


def options(arguments: list[str] | None = None) -> dict:
    parser = ArgumentParser(description=__doc__)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--own-shards", action="store_true")
    return vars(parser.parse_args(arguments))


def train_loop(config: dict) -> list[float]:
    """Train; gives the loss of the whole batch for each step that was taken."""
    rank, world = dist.get_rank(), dist.get_world_size()
    device = best_device("auto" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":  # of several GPUs it is the one of this process
        torch.cuda.set_device(device)
    torch.manual_seed(0)  # the same first weights everywhere
    network = model = TransformNet(config["width"]).to(device)
    if config["parallel"] == "fsdp":
        network.to(memory_format=torch.contiguous_format)  # which FSDP2 asks for
        for part in (*network.blocks, network):  # each is whole only while it runs
            fully_shard(part)
    else:
        model = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), config["rate"])
    style = dict.fromkeys(config["layers"].split(","), 1.0)
    loss = PerceptualLoss({config["content"]: 1.0}, style, normalization="relative")
    target = loss.style_target(read_image(config["style"], config["size"]).to(device))
    first, losses = checkpoints.load(config["folder"], model, optimizer), []
    own = batches(config, rank, world, device, first)
    for step, images in enumerate(own, first + 1):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            total = loss(model(images), content=images, style=target).total
        total.backward()
        optimizer.step()
        losses.append(checkpoints.mean(total))
        if step % config["every"] == 0 or step == config["steps"]:
            checkpoints.save(config["folder"], step, model, optimizer)
            print(f"rank {rank}: step {step}, loss {losses[-1]:.7f}", flush=True)
    print(f"rank {rank} of {world}: weights {checkpoints.digest(model)}", flush=True)
    return [float(loss) for loss in losses]


if __name__ == "__main__":
    with errors.as_sentence(), joined():  # nccl between GPUs, gloo between processors
        train_loop(options())
