"""The plans of the page on many machines: arithmetic, record and tables."""

from __future__ import annotations

import importlib
import math
import re
import sys
from pathlib import Path

import pytest

from pltutorial.networks import TransformNet

ROOT = Path(__file__).resolve().parent.parent
MACHINES = ROOT / "book" / "machines"
sys.path.insert(0, str(ROOT / "book"))
plans = importlib.import_module("many_machines")
sys.path.remove(str(ROOT / "book"))


def ring(parts: list[list[float]]) -> tuple[list[list[float]], int]:
    """Sum n processes' n numbers by passing one at a time to the right; and how many
    numbers each has sent.
    """
    n, sent = len(parts), 0
    for turn in range(2 * (n - 1)):
        moved = [(p, (p - turn) % n, parts[p][(p - turn) % n]) for p in range(n)]
        for p, place, value in moved:
            right = parts[(p + 1) % n]
            right[place] = value + (right[place] if turn < n - 1 else 0)
        sent += 1
    return parts, sent


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_what_a_process_sends_is_what_a_ring_does(n):
    parts = [[float(10 * p + k) for k in range(n)] for p in range(n)]
    sums = [sum(part[k] for part in parts) for k in range(n)]
    found, numbers = ring([list(part) for part in parts])
    assert all(part == sums for part in found)
    assert plans.sent(n, n) == numbers  # of n numbers
    # gathering twice and adding up once are three of its halves
    assert plans.sent_sharded(n, n) == 1.5 * numbers


@pytest.mark.parametrize(("cost", "mean"), [(1, 86_400), (60, 7200), (600, 7200)])
def test_young_and_daly_lose_least(cost, mean):
    """Young's interval is where the sum of both losses is least; Daly's is near the
    least of the time with failures that come by chance, also within a checkpoint.
    """
    intervals = [mean * k / 20_000 for k in range(1, 40_000)]
    best = min(intervals, key=lambda interval: plans.lost(cost, mean, interval))
    assert plans.young(cost, mean) == pytest.approx(best, rel=0.01)

    def whole(interval: float) -> float:  # of Daly's equation 20, without a restart
        return mean * math.expm1((interval + cost) / mean) / interval

    best = min(intervals, key=whole)
    assert plans.daly(cost, mean) == pytest.approx(best, rel=0.03)


def test_the_page_is_filled_and_shows_the_files():
    page = plans.PAGE.read_text(encoding="utf-8")
    known = plans.record()
    assert plans.filled(page, known) == page
    for name in re.findall(r"machines/([\w.]+)", page):
        assert (MACHINES / name).exists(), name
    shown = {path.name for path in MACHINES.iterdir() if path.is_file()}
    assert shown == set(re.findall(r"<machines/([\w.]+)>", page))
    # no measured number is typed: years, sizes of examples and the assumptions said
    prose = page.split(plans.MARKS[0])[0] + page.split(plans.MARKS[1])[1]
    assert re.findall(r"\d+\.\d+", prose.replace("2.1`", "`")) == []


def test_the_record_is_of_what_its_command_measures():
    known = plans.record()
    assert known["command"].endswith("python -m benchmarks.machines")
    parameters = sum(p.numel() for p in TransformNet(known["width"]).parameters())
    assert known["parameters"] == parameters
    assert known["gradient bytes"] == 4 * parameters
    # weights and two averages of float32, and what names them
    assert known["checkpoint bytes"] == pytest.approx(12 * parameters, rel=0.03)
    rows = {row["processes"]: row for row in known["several"]}
    assert rows.keys() == {1, 2, 4}
    for count in (2, 4):
        expected = count * plans.sent(known["gradient bytes"], count)
        assert rows[count]["carried bytes"] == pytest.approx(expected, rel=0.02)
        assert rows[count]["overhead"] > 0.8
    # two cores: four processes have as much to do, and no more to do it with
    assert known["cores"] == 2
    assert rows[4]["processor seconds"] > 0.9 * rows[2]["processor seconds"]
    larger, slower = plans.widened(known)
    assert 90 < larger < 101
    assert 10 < slower < 101


def test_what_the_page_reads_in_its_table_holds():
    """The exchange is a small share of a step, the wide network's state fits on one GPU
    many times, and less than a core reads for each.
    """
    known = plans.record()
    for plan in (plans.COCO, plans.LAION):
        found = plans.worked(plan, known)
        assert found["traffic share"] < 0.1
        assert found["sharded"] == pytest.approx(1.5 * found["traffic"])
        assert found["state"] < 80e9 / 10
        assert found["cores"] < 1


def test_a_plan_adds_up(capsys):
    known = plans.record()
    one = plans.worked(plans.COCO, known)
    assert one["seen"] == 236_000
    hours = 236_000 / plans.gpu_pictures() / 3600
    assert one["gpu hours"] == pytest.approx(hours)
    assert one["money"] == pytest.approx(hours * plans.COCO.price)
    assert one["steps"] * plans.COCO.each * plans.COCO.gpus == pytest.approx(236_000)
    twice = plans.worked(plans.replace(plans.COCO, gpus=16), known)
    assert twice["days"] == pytest.approx(one["days"] / 2)
    assert twice["gpu hours"] == pytest.approx(one["gpu hours"])
    plans.main(["--pictures", "1000", "--epochs", "1", "--price", "7"])
    said = capsys.readouterr().out
    assert "pictures seen: 1,000\n" in said
    assert "price of a GPU hour: 7.00\n" in said
