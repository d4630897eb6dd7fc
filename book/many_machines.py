"""A training on many machines on paper: what it takes, computed from what was measured
on one. `python book/many_machines.py --help` computes it with your numbers.

The page on many machines has two of these plans between its marks;
``python book/many_machines.py --write`` puts them there, from the record of
`benchmarks/machines.py` and a log of `benchmarks/gpu_networks/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "machines.json"
# The usual network with Johnson's loss, 256 pixels and 4 pictures a step, on one H200
# that seven trainings shared (benchmarks/gpu_day.yaml): what a GPU does at least.
GPU_LOG = ROOT / "benchmarks" / "gpu_networks" / "eight_styles_full.csv"
GPU_BATCH = 4
PAGE = ROOT / "book" / "many_machines.md"
MARKS = "% the plans begin; book/many_machines.py writes them", "% the plans end"
HOUR, DAY, YEAR = 3600, 86_400, 365.25 * 86_400


def sent(gradient_bytes: float, processes: int) -> float:
    """Bytes that each of n processes sends to sum its gradients with the others': a
    ring of n parts, each sent n - 1 times to be added and n - 1 times to be told.
    """
    return 2 * (processes - 1) / processes * gradient_bytes


def sent_sharded(weight_bytes: float, processes: int) -> float:
    """The same where each of n processes keeps a part of the weights (FSDP2, ZeRO-3):
    gathered for the pass forward, gathered again for the pass backward, and the
    gradients added up for who keeps the part.
    """
    return 3 * (processes - 1) / processes * weight_bytes


def young(checkpoint_seconds: float, between_failures: float) -> float:
    """Seconds from one checkpoint to the next: Young (1974), the first order of what
    loses least, sqrt(2 x seconds of a checkpoint x mean seconds between failures).
    """
    return math.sqrt(2 * checkpoint_seconds * between_failures)


def daly(checkpoint_seconds: float, between_failures: float) -> float:
    """The same to a higher order: Daly (2006), equation 37."""
    cost, mean = checkpoint_seconds, between_failures
    if cost >= 2 * mean:
        return mean
    ratio = cost / (2 * mean)
    return young(cost, mean) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost


def lost(checkpoint_seconds: float, between_failures: float, interval: float) -> float:
    """Share of the time that goes into checkpoints, and into the half interval that a
    failure throws away.
    """
    return checkpoint_seconds / interval + interval / (2 * between_failures)


@dataclass(frozen=True)
class Plan:
    """What a reader chooses or assumes; the rest is in the record."""

    pictures: float  # of the collection
    epochs: float = 1
    wide: bool = False  # ten times as wide, as the record has it
    gpus: int = 8
    each: int = 4  # pictures a step and GPU
    price: float = 3.0  # of one GPU for an hour, in any currency
    network: float = 12.5e9  # bytes a second between GPUs: 100 Gbit/s
    disk: float = 1e9  # bytes a second of the shared disk for checkpoints
    # 419 unexpected stops in 54 days on 16,384 GPUs: Grattafiori et al. (2024)
    between: float = 54 * DAY * 16_384 / 419  # seconds between failures of one GPU


COCO = Plan(118_000, epochs=2)
LAION = Plan(400e6, wide=True, gpus=256)


def record() -> dict:
    return json.loads(RECORD.read_text(encoding="utf-8"))


def gpu_pictures() -> float:
    """Pictures a second of the GPU's log, from its first line to its last."""
    with GPU_LOG.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    steps, seconds = (
        float(rows[-1][name]) - float(rows[0][name]) for name in ("step", "seconds")
    )
    return GPU_BATCH * steps / seconds


def widened(known: dict) -> tuple[float, float]:
    """How many times the parameters, and the seconds of a step, a network of ten times
    the width has.
    """
    narrow, wide = known["wider"]["widths"].values()
    return tuple(wide[name] / narrow[name] for name in ("parameters", "seconds"))


def worked(plan: Plan, known: dict) -> dict[str, float]:
    """All that follows, by name, in bytes, seconds and pieces."""
    larger, slower = widened(known) if plan.wide else (1.0, 1.0)
    seen = plan.pictures * plan.epochs
    rate = gpu_pictures() / slower  # of one GPU
    gpu_seconds = seen / rate
    gradients = known["gradient bytes"] * larger
    reading, step = known["reading"], plan.each / rate
    traffic = sent(gradients, plan.gpus)
    kept = known["checkpoint bytes"] * larger
    cost, between = kept / plan.disk, plan.between / plan.gpus
    interval = daly(cost, between)
    return {
        "seen": seen,
        "parameters": known["parameters"] * larger,
        "gradients": gradients,
        "core years": seen * slower * known["seconds a step"] / known["batch"] / YEAR,
        "rate": rate,
        "gpu hours": gpu_seconds / HOUR,
        "days": gpu_seconds / plan.gpus / DAY,
        "steps": seen / (plan.each * plan.gpus),
        "step": step,
        "traffic": traffic,
        "sharded": sent_sharded(gradients, plan.gpus),
        "state": 4 * gradients,
        "traffic share": traffic / plan.network / step,
        "storage": plan.pictures * reading["bytes a picture"],
        "reading": rate * reading["bytes a picture"],
        "reading all": plan.gpus * rate * reading["bytes a picture"],
        "cores": rate * reading["seconds to read one"],
        "checkpoint": kept,
        "checkpoint seconds": cost,
        "between": between,
        "young": young(cost, between),
        "daly": interval,
        "lost": lost(cost, between, interval),
        "money": gpu_seconds / HOUR * plan.price,
    }


# --- the page -------------------------------------------------------------------------


def figure(value: float) -> str:
    """Two digits, as many as a plan has."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    rounded = round(value, 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.{digits}f}"


def size(value: float) -> str:
    """Bytes with a unit."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{figure(value / scale)} {unit}"
    return f"{figure(value)} B"


def span(value: float) -> str:
    """Seconds with a unit."""
    for unit, scale in (("years", YEAR), ("days", DAY), ("h", HOUR), ("min", 60)):
        if value >= 2 * scale:
            return f"{figure(value / scale)} {unit}"
    return f"{figure(value)} s" if value >= 1 else f"{figure(1000 * value)} ms"


def percent(value: float) -> str:
    return f"{figure(100 * value)}%"


# what, where it is from, how it is written
ROWS = (
    ("pictures seen", "chosen", lambda p, w: f"{w['seen']:,.0f}"),
    ("parameters", "here", lambda p, w: f"{w['parameters']:,.0f}"),
    ("one core of this machine", "here", lambda p, w: span(w["core years"] * YEAR)),
    ("pictures a second of a GPU, at least", "there", lambda p, w: figure(w["rate"])),
    ("GPU hours, at most", "there", lambda p, w: figure(w["gpu hours"])),
    ("GPUs", "chosen", lambda p, w: f"{p.gpus}"),
    ("time, at most", "there", lambda p, w: span(w["days"] * DAY)),
    (
        "steps, of so many pictures",
        "chosen",
        lambda p, w: f"{w['steps']:,.0f}, {p.each * p.gpus:,}",
    ),
    ("a step", "there", lambda p, w: span(w["step"])),
    (
        "gradients sent by each GPU in a step",
        "arithmetic",
        lambda p, w: size(w["traffic"]),
    ),
    ("between GPUs", "assumed", lambda p, w: f"{p.network / 1e9:g} GB/s"),
    (
        "share of a step, where nothing hides it",
        "arithmetic",
        lambda p, w: percent(w["traffic share"]),
    ),
    (
        "weights and gradients sent with FSDP2",
        "arithmetic",
        lambda p, w: size(w["sharded"]),
    ),
    ("weights, gradients, averages of Adam", "here", lambda p, w: size(w["state"])),
    (
        "kept of them by each GPU with FSDP2",
        "arithmetic",
        lambda p, w: size(w["state"] / p.gpus),
    ),
    ("storage of the pictures", "here", lambda p, w: size(w["storage"])),
    ("read by each GPU", "here, there", lambda p, w: f"{size(w['reading'])}/s"),
    ("read by all", "here, there", lambda p, w: f"{size(w['reading all'])}/s"),
    ("cores that decode for each GPU", "here, there", lambda p, w: figure(w["cores"])),
    ("a checkpoint", "here", lambda p, w: size(w["checkpoint"])),
    ("the disk for it", "assumed", lambda p, w: f"{p.disk / 1e9:g} GB/s"),
    ("time to write it", "arithmetic", lambda p, w: span(w["checkpoint seconds"])),
    ("between two failures", "Llama 3", lambda p, w: span(w["between"])),
    ("between two checkpoints, Young", "arithmetic", lambda p, w: span(w["young"])),
    ("the same, Daly", "arithmetic", lambda p, w: span(w["daly"])),
    ("time lost to both", "arithmetic", lambda p, w: percent(w["lost"])),
    ("price of a GPU hour", "assumed", lambda p, w: f"{p.price:.2f}"),
    ("money, at most", "arithmetic", lambda p, w: figure(w["money"])),
)


def table(plans: dict[str, Plan], known: dict) -> str:
    """The plans side by side."""
    works = [(plan, worked(plan, known)) for plan in plans.values()]
    lines = [f"| | from | {' | '.join(plans)} |", "|---" * (2 + len(plans)) + "|"]
    for what, source, write in ROWS:
        cells = " | ".join(write(plan, work) for plan, work in works)
        lines.append(f"| {what} | {source} | {cells} |")
    return "\n".join(lines)


def measured(known: dict) -> str:
    """What the plans start from, as a table and sentences."""
    reading, side = known["reading"], known["several side"]
    larger, slower = widened(known)
    lines = [
        "| measured here | |",
        "|---|---|",
        f"| a step of {known['batch']} pictures of {known['side']} px, one thread, "
        f"{known['precision']} | {known['seconds a step']:.2f} s |",
        f"| gradients of {known['parameters']:,} parameters | "
        f"{size(known['gradient bytes'])} |",
        "| a checkpoint, with Adam's two averages | "
        f"{size(known['checkpoint bytes'])}, "
        f"{span(known['checkpoint seconds'])} |",
        f"| a packed picture, shorter side {reading['shorter side']} px | "
        f"{size(reading['bytes a picture'])} |",
        "| to read it, decode it and cut a crop | "
        f"{span(reading['seconds to read one'])} of a core |",
        f"| ten times the width: parameters, seconds | {larger:.0f} times, "
        f"{slower:.0f} times |",
        "",
        f"Several processes of one thread share a step of {known['batch']} pictures of "
        f"{side} px. A step takes at least their processor seconds, over the number of "
        f"cores that they have, at most the {known['cores']} of this machine:",
        "",
        "| processes | processor seconds of all | at least | "
        "to the same without the exchange | the exchange alone | "
        "sent over the loopback device | 2 (n - 1) x gradients |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in known["several"]:
        count, work = row["processes"], row["processor seconds"]
        expected = count * sent(known["gradient bytes"], count)
        least = work / min(count, known["cores"])
        lines.append(
            f"| {count} | {work:.2f} s | {least:.2f} s | {row['overhead']:.2f} times | "
            f"{span(row['exchange seconds']) if count > 1 else 'none'} | "
            f"{row['carried bytes'] / 1e6:.1f} MB | {expected / 1e6:.1f} MB |"
        )
    return "\n".join(lines)


def filled(page: str, known: dict) -> str:
    """The page with what was measured and both plans between its marks."""
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    plans = {"Johnson's training, COCO": COCO, "ten times as wide, LAION": LAION}
    made = (
        f"{measured(known)}\n\nMeasured by `{known['command']}` on {known['machine']}."
        f"\n\n{table(plans, known)}"
    )
    return f"{before}{MARKS[0]}\n\n{made}\n\n{MARKS[1]}{after}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="fill the page")
    for field in fields(Plan):
        default = getattr(COCO, field.name)
        if isinstance(default, bool):
            parser.add_argument(f"--{field.name}", action="store_true")
        else:
            kind = type(default) if isinstance(default, int | float) else float
            kind = float if field.name == "pictures" else kind
            parser.add_argument(f"--{field.name}", type=kind, default=default)
    given = vars(parser.parse_args(arguments))
    if given.pop("write"):
        page = filled(PAGE.read_text(encoding="utf-8"), record())
        PAGE.write_text(page, encoding="utf-8")
        return
    plan = replace(COCO, **given)
    for what, _, write in ROWS:
        print(f"{what}: {write(plan, worked(plan, record()))}")


if __name__ == "__main__":
    main()
