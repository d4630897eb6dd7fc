"""Checks that the exercises of the chapters call: each says "Correct" with a reason, or gives a hint.

A check tries the answer on inputs of its own, so a result copied from the page does not pass.
"""

from __future__ import annotations

from collections.abc import Callable


def _judge(right: bool, praise: str, hint: str) -> bool:
    """Print the verdict and return it."""
    print(f"Correct: {praise}" if right else f"Not yet: {hint}")
    return right


def _answer_of(function: Callable, *arguments):
    """What the reader's function returns, or None with a printed sentence where it fails."""
    try:
        return function(*arguments)
    except Exception as problem:  # the reader's own code: any error is a hint, not a crash
        print(f"Not yet: your function stopped with {type(problem).__name__}: {problem}")
        return None


# Chapter 1: pixel loss


# Chapter 2: feature reconstruction


# Chapter 3: style reconstruction


# Chapter 4: style transfer by optimisation
