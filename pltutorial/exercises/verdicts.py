"""What every check of an exercise says, and how it calls the reader's function."""

from __future__ import annotations

from collections.abc import Callable


def judge(right: bool, praise: str, hint: str) -> bool:
    """Print the verdict and return it."""
    print(f"Correct: {praise}" if right else f"Not yet: {hint}")
    return right


def answer_of(function: Callable, *arguments, none_is_an_answer: bool = False):
    """What the reader's function returns, or None with a printed sentence where it fails or forgets to return."""
    try:
        value = function(*arguments)
        if value is None and not none_is_an_answer:
            print("Not yet: your function returned None; end it with `return` and the result.")
        return value
    except Exception as problem:  # the reader's own code: any error is a hint, not a crash
        print(f"Not yet: your function stopped with {type(problem).__name__}: {problem}")
        return None
