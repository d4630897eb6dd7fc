"""Options of the command line out of settings: one for each field, with its default and its help; YAML sets others."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, nearest

_CONFIG = "A YAML file with the settings of a run, `steps: 2000`; options on the command line go before it."


def with_settings(kind: type, *, config: bool = False) -> Callable:
    """Give a command one option for each field of a settings dataclass, with its default and its help.

    The decorated command gets ``settings``, an instance of the dataclass. Tuples are written with commas.

    Args:
        kind: the dataclass.
        config: add ``--config``, a YAML file whose entries take the place of defaults: of the settings, and of
            the command's own options.
    """
    hints = typing.get_type_hints(kind)

    def decorate(command: Callable) -> Callable:
        own = [
            p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"
        ]
        options = [] if not config else [_option("config", Path | None, None, _CONFIG)]
        needed = [p.name for p in own if config and p.default is inspect.Parameter.empty]
        own = [p.replace(default=None) if p.name in needed else p for p in own]
        for setting in fields(kind):
            hint, default = hints[setting.name], setting.default
            if typing.get_origin(hint) is tuple:
                hint, default = str, ",".join(map(str, default))
            options.append(_option(setting.name, hint, default, setting.metadata["help"]))

        @functools.wraps(command)
        def run(**given):
            path, context = given.pop("config", None), given.pop("context", None)
            if path is not None:
                known = {**{p.name: str | None for p in own}, **hints}
                given |= _left_out(_read_config(path, known), context)
            for name in needed:
                if given[name] is None:
                    raise InputError(f"--{name} is missing; give it, or set {name} in the configuration")
            chosen = {s.name: _parsed(s.name, given.pop(s.name), hints[s.name]) for s in fields(kind)}
            return command(**given, settings=kind(**chosen))

        keyword = inspect.Parameter.KEYWORD_ONLY
        if config:
            options.append(inspect.Parameter("context", keyword, annotation=typer.Context))
        run.__signature__ = inspect.Signature([p.replace(kind=keyword) for p in own] + options)
        run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}
        return run

    return decorate


def _option(name: str, hint, default, help: str) -> inspect.Parameter:
    if isinstance(hint, types.UnionType):
        hint = typing.Optional[typing.get_args(hint)[0]]  # noqa: UP045 Typer reads this form
    annotation = Annotated[hint, typer.Option(help=help)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parsed(name: str, value, hint):
    """A comma-separated option as the tuple its setting is; everything else as it came."""
    if typing.get_origin(hint) is not tuple or isinstance(value, tuple):
        return value
    kind = typing.get_args(hint)[0]
    try:
        return tuple(kind(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        option = name.replace("_", "-")
        raise InputError(
            f"--{option} {value!r} was given; give numbers with commas, such as 256,512"
        ) from None


def _left_out(values: dict, context: typer.Context) -> dict:
    """The entries of a configuration whose options were not given on the command line."""
    given = ("COMMANDLINE", "ENVIRONMENT")
    return {
        name: value for name, value in values.items() if context.get_parameter_source(name).name not in given
    }


def _read_config(path: Path, known: Mapping) -> dict:
    """The entries of a YAML file, each of the type that its setting has.

    Raises:
        InputError: no such file, no YAML, an unknown name (with the nearest), or a value of another type.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(
            "--config needs the package pyyaml; install it with: pip install 'pltutorial[train]'"
        ) from None
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(
            f"the configuration {str(path)!r} cannot be read ({problem.strerror}); give a YAML file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        where = getattr(problem, "problem_mark", None)
        where = "" if where is None else f" from line {where.line + 1} on"
        raise InputError(
            f"the configuration {str(path)!r} is no YAML{where}; write one setting a line, such as steps: 2000"
        ) from None
    if not isinstance(entries or {}, Mapping):
        raise InputError(
            f"the configuration {str(path)!r} holds no settings; write one a line, such as steps: 2000"
        )
    chosen = {}
    for key, value in (entries or {}).items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise InputError(
                f"{str(path)!r} sets {key!r}, which is no setting of this command; {nearest(name, known)}"
            )
        chosen[name] = _typed(value, known[name], f"{str(path)!r} sets {key}: {value!r}")
    return chosen


def _typed(value, hint, said: str):
    """A value out of YAML as the type of its setting; YAML reads 1e-3 as text, and one name is no list."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, Iterable) or isinstance(parts, Mapping):
            parts = [parts]
        kind = typing.get_args(hint)[0]
        return tuple(
            _typed(part.strip() if isinstance(part, str) else part, kind, said)
            for part in parts
            if part != ""
        )
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[hint]
    if hint is float and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    elif hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{said}; give {wanted}")
