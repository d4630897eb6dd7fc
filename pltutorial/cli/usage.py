"""What Typer says of words that it cannot use, as one sentence like all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

from ..errors import InputError, nearest, shown
from . import check_stopped

_KINDS = {"integer": "a whole number", "bool": "true or false"}
_KINDS |= {"number": "a number", "float": "a number"}


def obey(app: typer.Typer, words: Sequence[str]) -> int:
    """Run the command that these words are; gives the exit code.

    Raises:
        InputError: the words are no command, or one with an option or argument that is
            unknown, missing, left over or of another kind.
    """
    try:
        words = [] if list(words) == ["--"] else words
        code = app(words, standalone_mode=False)
    except typer.Abort:  # of a question
        check_stopped()
        raise InputError(
            "the question was not answered, and nothing was changed; answer y or n"
        ) from None
    except Exception as problem:
        if not hasattr(problem, "format_message"):
            raise
        if type(problem).__name__ == "NoArgsIsHelpError":
            problem.show()
            return 2
        raise InputError(_sentence(problem, app, words)) from None
    return code if isinstance(code, int) else 0


def _sentence(problem: Any, app: typer.Typer, words: Sequence[str]) -> str:
    """One sentence about words that are no command as it should be.

    What went wrong is known by the names of classes, whose place depends on Typer's
    version, and by what they have in them.
    """
    path, command, left = _command(app, words)
    help = f"`{' '.join(['pltutorial', *path])} --help`"
    name = path[-1] if path else "pltutorial"
    kind, said = type(problem).__name__, problem.format_message()
    if kind == "NoSuchOption":
        known = [opt for one in command.params for opt in one.opts if opt[:2] == "--"]
        option, near = problem.option_name, "give one that it has"
        if option.startswith("--"):
            near = nearest(option[:80], [*known, "--help"])
        return f"{name} has no option {shown(option)}; {near}, see {help}"
    if kind == "BadOptionUsage" and "not take" in said:
        return f"{problem.option_name} was given a value; give it without one"
    if kind == "BadOptionUsage":
        return f"{problem.option_name} was given no value; give one, see {help}"
    if kind == "MissingParameter":
        what = _called(problem.param)
        return f"{name} was given no {what}; give one, see {help}"
    if kind == "BadParameter" and problem.param is not None:
        what = _called(problem.param)
        if "is not readable" in said:
            return f"{what} {_named(said)} may not be read; change its permissions"
        needed = next((_KINDS[one] for one in _KINDS if one in said), "another")
        if "maximum size" in said:
            needed += " that is not so long"
        value = _value(problem.param, words)
        value = "this" if value is None else shown(value)
        return f"{what} {value} was given; give {needed}, see {help}"
    if left and hasattr(command, "commands"):
        near = nearest(left[0][:80], command.commands)
        return f"there is no command {shown(left[0])}; {near}, see {help}"
    if "extra argument" in said:
        more = shown(said[said.find(" (") + 2 : said.rfind(")")])
        return f"{name} was given more than it takes, {more}; leave that out"
    said = " ".join(said.split())[:200].rstrip(".").replace(". ", "; ")
    return f"{name} cannot be used like this ({said}); see {help}"


def _command(
    app: typer.Typer, words: Sequence[str]
) -> tuple[list[str], Any, Sequence[str]]:
    """Which command these words are: its path, itself, and the words that follow."""
    command, path = typer.main.get_command(app), []
    for number, word in enumerate(words):
        if not hasattr(command, "commands"):
            return path, command, words[number:]
        if word in command.commands:
            path.append(word)
            command = command.commands[word]
        elif not word.startswith("--"):
            return path, command, words[number:]
    return path, command, []


def _called(parameter: Any) -> str:
    """``--steps``, or ``PHOTO``."""
    long = [opt for opt in parameter.opts if opt.startswith("--")]
    if parameter.param_type_name == "option":
        return (long or parameter.opts)[0]
    return (parameter.metavar or parameter.name).strip("[]").upper()


def _named(said: str) -> str:
    """The path in a sentence of Typer's."""
    found = re.search(r"path '(.*)' is not", said, re.IGNORECASE | re.DOTALL)
    return shown(found[1]) if found else "this"


def _value(parameter: Any, words: Sequence[str]) -> str | None:
    """What was given for an option; None where that cannot be seen."""
    found = None
    for number, word in enumerate(words):
        option, sign, value = word.partition("=")
        if option not in parameter.opts:
            continue
        found = value if sign else next(iter(words[number + 1 :]), None)
    return found
