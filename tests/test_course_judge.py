"""Two processes: the student's gives values only, and the judge's verdict on every
graded exercise is the same.
"""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys

import pytest

from book.chapters import CHAPTERS
from book.course import runner, sandbox
from book.course.runner import Part
from book.course.worker.channel import Channel, ChannelError
from book.course.worker.peer import Peer
from book.course.worker.values import Unpacking

SEEDS = (0, 7)
MODULES = {
    chapter.number: importlib.import_module(chapter.course) for chapter in CHAPTERS
}


@pytest.fixture(scope="module", autouse=True)
def without_a_sandbox():
    before = sandbox.in_force()
    sandbox.choose("none")
    yield
    sandbox.choose(before)


@pytest.mark.parametrize("chapter", MODULES)
def test_verdicts_of_all_graded_siblings(chapter):
    """In one go: solutions pass all their tests, wrong answers and
    starters fail the hidden.
    """
    parts, passing, failing = [], [], []
    for seed in SEEDS:
        for one in MODULES[chapter].graded(random.Random(seed)):
            if one.written:
                continue
            parts.append(Part(one.solution))
            for text in (one.visible, one.hidden):
                passing.append(len(parts))
                parts.append(Part(text, f"{one.name}-{seed}"))
            for number, wrong in enumerate((*one.wrong, one.starter)):
                parts.append(Part(wrong))
                failing.append((len(parts), one.name, number))
                parts.append(Part(one.hidden, f"{one.name}-{seed}-{number}"))
    ran = runner.run(parts, 20, 300)
    for number in passing:
        assert ran[number] == runner.Ran(), parts[number].name
    for number, name, which in failing:
        assert ran[number].problem, f"{name}, wrong answer {which}"
        assert "look" not in ran[number].problem


JUNK = [
    {"a": 1},
    ["no such kind", 1],
    ["tensor", 5, -1],
    ["tensor", "x", 0, 0],
    ["list", 3],
    ["dict", [[["list", []], 1]]],
    ["array", "", "no dtype", 1],
    ["dtype", "load"],
    ["yours", "nothing"],
    ["object", "s1", ["system"]],
    ["optimizer", "s1", "SGD", []],
    ["module", "s1", {"class": "Linear"}],
    ["parameter", "s1", "weight"],
    ["bytes", "zz"],
    ["range", ["a"]],
]


@pytest.mark.parametrize("node", JUNK, ids=range(len(JUNK)))
def test_what_is_no_value_is_refused_and_nothing_is_built(node):
    """The judge takes data only: no object, optimizer or class of a student's."""
    peer = Peer(Channel(0, 1), "j", trusting=False)
    with pytest.raises(ChannelError):
        Unpacking(peer, []).value(node)
    deep = ["list", [1]]
    for _ in range(200):
        deep = ["list", [deep]]
    with pytest.raises(ChannelError):
        Unpacking(peer, []).value(deep)


def test_answers_of_another_shape_cost_the_cell_and_no_more():
    forged = """
import gc
found = [one for one in gc.get_objects() if type(one).__name__ == "Channel"]
found[0].send({"problem": 3, "printed": [], "state": [[1]]}, [])
"""
    parts = [Part(forged), Part("x = 3"), Part("assert x == 3", "a")]
    ran = runner.run(parts, 5, 60)
    assert "no data" in ran[0].problem
    assert [one.problem for one in ran[1:]] == ["", ""]


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_a_module_that_was_given_as_an_argument(frozen):
    """Also where the student's function freezes it on the way."""
    answer = "def loss(judged, x):\n    found = judged(x).square().mean()\n"
    if frozen:
        answer += "    judged.requires_grad_(False)\n"
    test = (
        "import torch\n"
        "from torch import nn\n"
        "layer = nn.Sequential(nn.Conv2d(3, 2, 2), nn.Conv2d(2, 1, 1))\n"
        "x = torch.randn(2, 3, 4, 4).requires_grad_()\n"
        "weights = [one for one in layer.parameters()]\n"
        "wanted = torch.autograd.grad(layer(x).square().mean(), [x, *weights])\n"
        "value = loss(layer, x)\n"
    )
    if frozen:
        test += "assert not any(one.requires_grad for one in weights)\n"
        test += "weights, wanted = [], wanted[:1]\n"
    test += (
        "found = torch.autograd.grad(value, [x, *weights])\n"
        "for one, other in zip(found, wanted):\n"
        "    assert torch.allclose(one, other, atol=1e-6), 'another gradient'\n"
    )
    ran = runner.run([Part(answer + "    return found\n"), Part(test, "a")], 10, 60)
    assert [one.problem for one in ran] == ["", ""]


def test_a_judge_whose_grader_was_stopped_ends_in_silence(tmp_path):
    """Ctrl-C ends the grader; what it began says nothing more."""
    code = f"""
from multiprocessing import Pipe
from book.course import judge
mine, its = Pipe()
mine.close()
judge.work(its, 5, 10, "none", {str(tmp_path)!r}, [])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_student_pays_nothing_for_a_process_that_never_started():
    """It is the grader's fault, so a person is called; see grading._grade_safely."""
    from book.course.judge import _Judge
    from book.course.worker.channel import Channel

    (read, its), (mine, write) = os.pipe(), os.pipe()
    os.close(its)
    told = []
    end = _Judge(Channel(read, write), 3, told.append).run([[0, "cell", "", "x = 1"]])
    os.close(read)
    os.close(mine)
    os.close(write)
    assert told == []
    assert end == {
        "unborn": "the student's process did not start: the other side has ended"
    }
