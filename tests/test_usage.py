"""Words that are no command, or no option or argument of one: one sentence each, for
every command and every option.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import typer
from helpers import assert_refused

from pltutorial.cli import usage
from pltutorial.cli.app import app


def commands(click=None, path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Every command with its path, groups among them."""
    click = click or typer.main.get_command(app)
    yield path, click
    for name, below in getattr(click, "commands", {}).items():
        yield from commands(below, (*path, name))


EVERY = {" ".join(path) or "pltutorial": (path, click) for path, click in commands()}
SINGLE = {name: how for name, how in EVERY.items() if not hasattr(how[1], "commands")}
GROUPS = {name: how for name, how in EVERY.items() if name not in SINGLE}
each = pytest.mark.parametrize(("path", "click"), SINGLE.values(), ids=SINGLE)


def kind(parameter) -> type | None:
    """int or float, where a number is wanted."""
    descriptor = getattr(parameter, "type_descriptor", None)
    found = getattr(descriptor, "annotation", None)  # of newer versions of Typer
    found = found or {"integer": int, "float": float}.get(parameter.type.name)
    return found if found in (int, float) else None


_built = functools.cache(typer.main.get_command)


@pytest.fixture(autouse=True)
def built_once(monkeypatch):
    """The tree of commands takes a twentieth of a second, and is the same each time."""
    monkeypatch.setattr(typer.main, "get_command", _built)


def test_there_are_commands_options_and_numbers_to_try():
    parameters = [one for _, click in SINGLE.values() for one in click.params]
    assert len(SINGLE) >= 30
    assert {"train", "data", "pltutorial"} == set(GROUPS)
    assert sum(kind(one) is not None for one in parameters) > 200


@each
def test_a_word_where_a_number_is_wanted(command, path, click):
    for one in click.params:
        if kind(one) is None:
            continue
        needed = "a whole number" if kind(one) is int else "a number"
        outcome = command(*path, one.opts[0], "soon")
        assert_refused(outcome, f"{one.opts[0]} 'soon'", needed, f"{path[-1]} --help")


@pytest.mark.parametrize("value", ["", "9" * 5000 + "x", "1,5", "\u0661 x", "0x10"])
@pytest.mark.parametrize("option", ["--steps", "--learning-rate"])
def test_many_words_where_a_number_is_wanted(command, option, value):
    for words in ((option, value), (f"{option}={value}",)):
        outcome = command("transfer", *words)
        assert_refused(outcome, f"{option} {value[:9]!r}"[:-1], "number", "--help")
        assert len(outcome[2]) < 300
    if option == "--steps":
        assert_refused(command("transfer", "--steps=1.5"), "--steps '1.5'", "a whole")


@each
def test_an_option_that_has_no_value_or_one_too_many(command, path, click):
    for one in click.params:
        if one.param_type_name == "argument":
            continue
        for name in (*one.opts, *one.secondary_opts):
            if not one.is_flag:
                assert_refused(command(*path, name), name, "given no value")
            elif name.startswith("--"):
                assert_refused(command(*path, f"{name}=3"), name, "without one")


@each
def test_what_is_unknown_missing_or_left_over(command, path, click):
    name = path[-1]
    assert_refused(command(*path, "--nothing=1"), name, "'--nothing'", "--help")
    assert_refused(command(*path, "-Q"), name, "'-Q'", "--help")
    assert_refused(command(*path, "--" + "x" * 9000), name, "xxx", "--help")
    missing = [one for one in click.params if one.required]
    if missing:
        assert_refused(command(*path), f"{name} was given no ", "give one")
    arguments = [one for one in click.params if one.param_type_name == "argument"]
    if all(one.nargs == 1 for one in arguments):
        words = ["x"] * len(arguments)
        if any("--output" in one.opts and one.required for one in click.params):
            words += ["-o", "x.png"]
        assert_refused(command(*path, *words, "more \n"), "more than it takes", "more")


@pytest.mark.parametrize(("path", "click"), GROUPS.values(), ids=GROUPS)
def test_a_command_that_there_is_not(command, path, click):
    known = next(iter(click.commands))
    for word, said in ((f"{known}x", known), ("\udce4\n", "udce4"), ("-", "'-'")):
        outcome = command(*path, word)
        assert_refused(outcome, "there is no command", said, "--help")
    assert_refused(command(*path, "--nothing"), "has no option '--nothing'", "--help")


def test_help_and_version_are_no_faults(command):
    for name, (path, _) in EVERY.items():
        code, printed, errors = command(*path, "--help")
        assert (code, errors) == (0, ""), name
        assert "Usage: " in printed, name
    assert command("--version")[0] == 0
    code, printed, errors = command()  # what there is
    assert code == 2
    assert "Commands:" in printed + errors


def test_dashes_alone_are_no_command(command):
    assert command("--")[0] == 2


def test_a_folder_that_may_not_be_read(command, tmp_path, monkeypatch):
    """Typer asks the system, of which root is no judge."""
    monkeypatch.setattr("os.access", lambda *_: False)
    outcome = command("serve", tmp_path)
    assert_refused(outcome, f"FOLDER {str(tmp_path)!r} may not be read", "permissions")


def test_a_question_without_an_answer(monkeypatch):
    asking = typer.Typer()

    @asking.command()
    def ask() -> None:
        typer.confirm("Really?")

    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    with pytest.raises(usage.InputError, match="not answered, and nothing was changed"):
        usage.obey(asking, [])


def test_what_older_and_newer_versions_say():
    """The sentences do not depend on Typer's words for what they tell."""

    class UsageError(Exception):
        ctx = None

        def format_message(self) -> str:
            return "Something. New"

    said = usage._sentence(UsageError(), app, ["stylize", "x"])
    assert said == (
        "stylize cannot be used like this (Something; New); see "
        "`pltutorial stylize --help`"
    )
