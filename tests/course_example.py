"""Graded exercises for the tests of the course: quick, and without a chapter."""

from __future__ import annotations

import random

from book.course.graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    factor, power = draw.randint(3, 97), draw.randint(2, 5)
    return [
        Graded(
            name="times",
            title="Times a number",
            points=2,
            statement=f"Write `times(x)`: {factor} times `x`.",
            starter=(
                'def times(x):\n    """A multiple of x."""\n'
                "    raise NotImplementedError"
            ),
            solution=(
                f"def times(x):\n    product_of_both = {factor} * x\n"
                "    return product_of_both"
            ),
            visible='assert times(0) == 0, "zero stays zero"',
            hidden=(
                "secret_number = 7\n"
                f"assert times(secret_number) == {7 * factor}, 'another multiple'"
            ),
            wrong=(
                f"def times(x):\n    return {factor + 1} * x",
                f"def times(x):\n    return x ** {factor}",
            ),
        ),
        Graded(
            name="mended",
            title="Mend the mean",
            points=3,
            statement=f"The mean of x to the power of {power} is wrong. Mend it.",
            starter=f"def mean(x):\n    return sum(x) ** {power} / len(x)",
            solution=(
                f"def mean(x):\n    powers_of_all = [v**{power} for v in x]\n"
                "    return sum(powers_of_all) / len(x)"
            ),
            visible='assert mean([1]) == 1, "one number is its own mean"',
            hidden=(
                f"assert mean([1, 3]) == {(1 + 3**power) / 2}, 'first the "
                "power, then the mean'"
            ),
            wrong=(
                f"def mean(x):\n    return (sum(x) / len(x)) ** {power}",
                f"def mean(x):\n    return sum(x) ** {power} / len(x)",
            ),
        ),
        Graded(
            name="why",
            title="Why?",
            points=4,
            statement="Why is the order of power and mean not the same?",
            rubric=(
                "2 points for a word about convexity, 4 with an example of two numbers"
            ),
            answer=(
                "Powers are convex on positive numbers, so Jensen's inequality holds."
            ),
        ),
    ]
