"""Every check of an exercise: what it refuses, what it stops, what it puts back, and
what it says about it.
"""

from __future__ import annotations

import os
import random
import threading
import time
import warnings
from collections.abc import Callable

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.display import display

from book.chapters import CHAPTERS
from pltutorial.teaching import exercises
from pltutorial.teaching.exercises import verdicts
from pltutorial.teaching.exercises.verdicts import (
    answer_of,
    as_torch,
    exercise,
    judge,
    near,
)


@exercise(chapter=3, label="ex-doubled", second="two times three is six.", seconds=1)
def check_doubled(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(x)``: twice x."""
    x = torch.rand(5)
    value = answer_of(answer, x)
    if value is None:
        return False
    return judge(near(value, 2 * x), "it is twice as large.", "multiply.")


@exercise(chapter=3, label="ex-half", second="a number between a quarter and one.")
def check_half(answer: float) -> bool:
    """Check the number 0.5."""
    return judge(abs(answer - 0.5) < 1e-6, "a half.", "not a half.")


@exercise(chapter=3, label="ex-direct", second="two times three is six.", seconds=1)
def check_direct(answer: Callable[[float], float]) -> bool:
    """Call the answer without answer_of."""
    return judge(answer(2.0) == 4.0, "twice.", "multiply.")


@pytest.fixture(autouse=True)
def fresh():
    verdicts._failed_tries.clear()
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads, "a check left a thread behind"


@pytest.fixture
def said(capsys):
    return lambda: capsys.readouterr().out


def doubled(x):
    return 2 * x


def test_right_answer(said):
    assert check_doubled(doubled) is True
    assert said() == "Correct: it is twice as large.\n"


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ((), "given nothing; give it your function, without brackets"),
        ((None,), "given None; give it your function"),
        ((doubled, doubled), "given 2 things"),
        ((4.0,), "given 4.0 (float)"),
        (("doubled",), "given 'doubled' (str)"),
        ((torch.ones(2, 3),), "a Tensor of shape (2, 3)"),
        ((numpy.ones(2),), "of shape (2,)"),
        (([doubled],), "given a list"),
    ],
)
def test_what_is_no_function_is_refused(answers, sentence, said):
    for _ in range(3):
        assert check_doubled(*answers) is False
    text = said()
    assert text.count("Not yet: ") == 3
    assert sentence in text
    assert "Second hint" not in text  # nothing was tried


def test_what_is_no_value_is_refused(said):
    for answers, sentence in (
        ((), "give it your answer"),
        ((None,), "None"),
        ((doubled,), "a function"),
    ):
        assert check_half(*answers) is False
        assert sentence in said()
    assert check_half("half") is False
    assert "could not be checked (TypeError" in said()
    assert check_half(numpy.float32(0.5)) is True


def _not_written(x):
    raise NotImplementedError


def _ends_the_program(x):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda x: None, "returned None"),
        (lambda x: 1 / 0, "stopped with ZeroDivisionError: division by zero"),
        (lambda: 1, "stopped with TypeError"),
        (_not_written, "write its body first"),
        (_ends_the_program, "SystemExit"),
        (lambda x: doubled(x)[:2], "could not be checked"),
        (lambda x: "six", "could not be checked"),
        (lambda x: _ends_the_program, "could not be checked"),
    ],
)
def test_failing_function(answer, sentence, said):
    assert check_doubled(answer) is False
    text = said()
    assert text.startswith("Not yet: ")
    assert sentence in text
    assert "Traceback" not in text


def test_recursion_without_end(said):
    def again(x):
        return again(x)

    assert check_doubled(again) is False
    assert "RecursionError" in said()


def _spins(x):
    while True:
        pass


def _spins_and_catches(x):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


def _spins_and_catches_all(x):
    while True:
        try:  # noqa: SIM105
            x = x + 1
        except:  # noqa: E722
            pass


def _spins_and_cleans_up(x):
    try:
        _spins(x)
    finally:
        x.zero_()


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (check_doubled, _spins),
        (check_doubled, _spins_and_catches),
        (check_doubled, _spins_and_catches_all),
        (check_doubled, _spins_and_cleans_up),
        (check_direct, _spins),
    ],
)
def test_endless_loop_ends(check, answer, said):
    assert check(answer) is False
    text = said()
    assert text.startswith(
        "Not yet: your function was still running after 1 s and was stopped"
    )
    assert "restart the kernel" not in text


def test_waiting_outside_python_is_left_behind_and_said(said, monkeypatch):
    monkeypatch.setattr(verdicts, "_GRACE", 0.1)
    waiting = threading.Event()

    def sleeps(x):
        for _ in range(1):
            time.sleep(4)
        waiting.set()

    assert check_doubled(sleeps) is False
    assert "restart the kernel" in said()
    for thread in threading.enumerate():
        if (
            thread.daemon
            and thread is not threading.current_thread()
            and "Thread-" in thread.name
        ):
            thread.join(9)  # the exception waits for the end of the sleep
    assert not waiting.is_set()


def test_a_stopped_loop_leaves_the_next_try_alone(said):
    assert not check_doubled(_spins)
    assert check_doubled(doubled)
    assert "Correct" in said()


def test_output_is_swallowed_and_counted(said):
    def talks(x):
        print("one\ntwo")
        print("three", end="")
        os.sys.stderr.write("not counted\n")
        return 2 * x

    assert check_doubled(talks)
    assert said() == (
        "Correct: it is twice as large.\n"
        "(Your function also printed 3 lines, not shown here.)\n"
    )


def test_displays_are_swallowed_too(said):
    def shows(x):
        display(x)
        return 2 * x

    assert check_doubled(shows)
    assert "tensor(" not in said()


def _seeds_torch(x):
    torch.manual_seed(0)


def _seeds_numpy(x):
    numpy.random.seed(0)  # noqa: NPY002


def _seeds_python(x):
    random.seed(0)


def _no_grad(x):
    torch.set_grad_enabled(False)


def _double(x):
    torch.set_default_dtype(torch.float64)


def _threads(x):
    torch.set_num_threads(torch.get_num_threads() + 1)


def _moves(x):
    os.chdir("..")


def _silences(x):
    warnings.simplefilter("ignore", ResourceWarning)


def _mutates(x):
    x.mul_(3)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_seeds_torch, "torch's random seed"),
        (_seeds_numpy, "NumPy's random numbers"),
        (_seeds_python, "Python's random numbers"),
        (_no_grad, "the grad mode"),
        (_double, "the default dtype"),
        (_threads, "the number of threads"),
        (_moves, "the working directory"),
        (_silences, "the warnings' filters"),
        (_mutates, "the tensors it was given"),
    ],
)
def test_global_settings_are_put_back_and_said(
    change, what, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def answer(x):
        right = 2 * x
        change(x)
        return right

    def everything():
        states = (
            torch.get_rng_state().tolist(),
            str(numpy.random.get_state()),  # noqa: NPY002
            random.getstate(),
        )
        settings = (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        )
        return *states, *settings, os.getcwd(), list(warnings.filters)  # noqa: PTH109

    before = everything()
    # the inputs that the check compares with are not those it handed out
    assert check_doubled(answer)
    assert everything() == before
    assert f"(Your function also changed {what}; put back.)" in said()
    seen = []
    thread = threading.Thread(
        target=lambda: seen.append((torch.get_num_threads(), torch.is_grad_enabled()))
    )
    thread.start()
    thread.join()
    assert seen == [(torch.get_num_threads(), True)]


def test_all_is_put_back_after_an_error_and_a_stop(said):
    def changes_and_fails(x):
        _double(x)
        raise ValueError("no")

    def changes_and_spins(x):
        _double(x)
        _spins(x)

    for answer in (changes_and_fails, changes_and_spins):
        assert not check_doubled(answer)
        assert torch.get_default_dtype() == torch.float32


def test_plain_drawing_is_not_worth_a_sentence_but_put_back(said):
    before = torch.get_rng_state()
    assert check_doubled(lambda x: 2 * x + 0 * torch.rand(5))
    assert said() == "Correct: it is twice as large.\n"
    assert torch.equal(torch.get_rng_state(), before)


def test_the_readers_settings_do_not_disturb_the_check(said):
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert check_doubled(lambda x: 2 * x)
            assert check_doubled(
                lambda x: torch.autograd.grad(
                    (y := x.requires_grad_(True)).square().sum(), y
                )[0]
            )
            assert torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_second_hint_from_the_second_failed_try_until_it_is_right(said):
    wrong = torch.zeros_like
    assert not check_doubled(wrong)
    assert "Second hint" not in said()
    for _ in range(2):
        assert not check_doubled(wrong)
        assert said().endswith("Second hint: two times three is six.\n")
    assert not check_half(1)
    assert "Second hint" not in said()  # each check counts for itself
    assert check_doubled(doubled)
    said()
    assert not check_doubled(wrong)
    assert "Second hint" not in said()


@given(
    st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    st.integers(0, 2**31),
)
def test_near_takes_every_float_type_and_not_a_wrong_number(kind, seed):
    right = torch.randn((3, 4), generator=torch.Generator().manual_seed(seed))
    value = right.to(getattr(torch, kind))
    assert near(value, right)
    assert near(right, value)
    assert not near(value * 1.1 + 0.1, right)


def test_numpy_is_taken_as_torch():
    value = as_torch(numpy.arange(6.0).reshape(2, 3).T)
    assert isinstance(value, torch.Tensor)
    assert value.shape == (3, 2)
    assert as_torch(numpy.float32(2.5)) == 2.5
    assert type(as_torch(numpy.int64(2))) is int
    assert check_doubled(lambda x: 2 * x.numpy())
    assert as_torch(numpy.array(["a"])).dtype.kind == "U"  # no number: left as it is


def test_every_check_of_the_book_is_an_exercise_with_a_second_hint():
    for name in exercises.__all__:
        known = verdicts.EXERCISES.get(name)
        assert known, f"{name} lacks the decorator @exercise"
        assert known.label.startswith("ex-")
        assert known.chapter in {chapter.number for chapter in CHAPTERS}
        assert len(known.second.split()) >= 5
        assert known.second.endswith((".", "?", "!"))


@pytest.mark.parametrize("name", exercises.__all__)
def test_every_check_of_the_book_takes_bad_answers(name, said):
    check = getattr(exercises, name)
    answers = [
        (),
        (None,),
        ("text",),
        (object(),),
        (lambda *anything: 1 / 0,),
        (lambda *anything: "text",),
    ]
    for bad in answers:
        assert check(*bad) is False
        text = said()
        assert text.startswith("Not yet: ")
        assert "Correct" not in text


# The checks of the book that take a function, and so run the reader's code.
CALLED = [
    name
    for name in exercises.__all__
    if "Callable"
    in str(next(iter(getattr(exercises, name).__annotations__.values()), ""))
]


@pytest.mark.parametrize("name", CALLED)
def test_a_crash_of_the_answer_is_a_hint_and_the_next_one_tells_more(name, said):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    check = getattr(exercises, name)
    assert not check(crash)
    first = said()
    assert first.startswith("Not yet: ")
    assert "ZeroDivisionError" in first
    assert "Second" not in first
    assert not check(crash)
    second = said()
    assert "ZeroDivisionError: by hand" in second
    assert "Second hint" in second
