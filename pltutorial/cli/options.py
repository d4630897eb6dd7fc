"""The options of the commands: each is declared here once; settings become options;
YAML sets defaults of a run.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, nearest, shown
from ..files import exists, no_file


def photo_argument(name: str = "PHOTO", more: str = ""):
    """The argument that is a picture to be read; ``more`` goes on with its help."""
    help = "A picture, the name of a bundled one, or - for standard input"
    return typer.Argument(help=f"{help}{more}.", metavar=name)


Photo = Annotated[str, photo_argument()]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="Where to write: .png, .jpg, ..., or - for standard output.",
    ),
]
Model = Annotated[
    Path | None, typer.Option(help="A network that `pltutorial train` wrote.")
]
Format = Annotated[
    str | None,
    typer.Option(
        help="png, jpg, webp, ... for standard output (png if left out), and for "
        "folders where a command takes them."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        help="auto (bfloat16 where the processor has it), float32 or bfloat16."
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object; on standard error if the picture is piped.",
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        help="Refuse pictures with more pixels than this, read or to be written."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="A YAML file with the settings of a run, `steps: 2000`; options on the "
        "command line go before it."
    ),
]
MAX_PIXELS = 100_000_000
LARGEST_CONFIG = 1_000_000  # bytes of a YAML file
_DEEPEST = 20


def with_options(command: Callable = None, *, config: bool = False) -> Callable:
    """Give a command the fields of dataclasses as options.

    Each parameter whose annotation is a dataclass becomes one option for each of its
    fields, and the command gets an instance. A field has either Typer's annotation, or
    its help in its metadata, as settings have. Tuples are written with commas.

    Args:
        command: the function; a decorator is returned if it is left out.
        config: add ``--config``, a YAML file whose entries take the place of defaults:
            of the fields, and of the command's own options.
    """
    if command is None:
        return functools.partial(with_options, config=config)
    own = inspect.signature(command, eval_str=True).parameters.values()
    groups = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}
    hints = {
        name: hint
        for kind in groups.values()
        for name, hint in typing.get_type_hints(kind).items()
    }
    own = [_keyword(p) for p in own if p.name not in groups]
    needed = [p.name for p in own if config and p.default is inspect.Parameter.empty]
    own = [p.replace(default=None) if p.name in needed else p for p in own]
    options = [_option("config", Config, None)] if config else []
    for kind in groups.values():
        options += _options(kind)

    @functools.wraps(command)
    def run(**given):
        path, context = given.pop("config", None), given.pop("context", None)
        if path is not None:
            known = {**{p.name: str | None for p in own}, **hints}
            given |= _left_out(read_config(path, known), context)
        for name in needed:
            if not given[name]:
                raise InputError(
                    f"--{name} is missing; give it, or set {name} in the configuration"
                )
        for group, kind in groups.items():
            chosen = {
                one.name: _parsed(one.name, given.pop(one.name), hints[one.name])
                for one in fields(kind)
            }
            given[group] = kind(**chosen)
        return command(**given)

    options = sorted(own + options, key=lambda p: p.default is not p.empty)
    if config:
        options.append(_option("context", typer.Context, inspect.Parameter.empty))
    run.__signature__ = inspect.Signature(options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options(kind: type) -> list[inspect.Parameter]:
    """One option for each field of a dataclass."""
    options = []
    hints = typing.get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        hint = hints[one.name]
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        if typing.get_origin(hint) is not Annotated:
            if typing.get_origin(hint) is tuple:
                hint, default = str, ",".join(map(str, default))
            hint = Annotated[hint, typer.Option(help=one.metadata["help"])]
        options.append(_option(one.name, hint, default))
    return options


def _option(name: str, hint, default) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
    )


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _parsed(name: str, value, hint):
    """A comma-separated option as the tuple its setting is;
    everything else as it came.
    """
    if typing.get_origin(hint) is not tuple or isinstance(value, tuple):
        return value
    kind = typing.get_args(hint)[0]
    try:
        return tuple(kind(part) for part in parts_of(value))
    except ValueError:
        option = name.replace("_", "-")
        raise InputError(
            f"--{option} {shown(value)} was given; give numbers with commas, such as "
            "256,512"
        ) from None


def parts_of(text: str) -> list[str]:
    """The parts of a list with commas, stripped.

    A path that exists is one part, whatever commas it has; so is one with a weight,
    ``night, 1889.jpg:0.3``.
    """
    pieces, parts = text.split(","), []
    while pieces:
        ends = range(min(len(pieces), 16), 1, -1)
        joined = {end: ",".join(pieces[:end]).strip() for end in ends}
        end = next((end for end in ends if _names_a_file(joined[end])), 1)
        parts.append(joined.get(end) or pieces[0].strip())
        del pieces[:end]
    return [part for part in parts if part]


def _names_a_file(text: str) -> bool:
    try:
        return exists(text) or exists(re.sub(":[-+.0-9e]+$", "", text))
    except InputError:  # a long list is no path
        return False


def _left_out(values: dict, context: typer.Context) -> dict:
    """The entries of a configuration whose options were not given
    on the command line.
    """
    given = ("COMMANDLINE", "ENVIRONMENT")
    return {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name).name not in given
    }


def read_config(path: Path, known: Mapping) -> dict:
    """The entries of a YAML file, each of the type that its setting has.

    Raises:
        InputError: no such file, no YAML, an unknown name (with the nearest), or a
            value of another type.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(
            "--config needs the package pyyaml; install it with: pip "
            "install 'pltutorial[train]'"
        ) from None
    fault = no_file(path)
    if fault in ("", "does not exist") and _size(path) > LARGEST_CONFIG:
        fault = f"has more than {LARGEST_CONFIG:,} bytes"
    if fault not in ("", "does not exist"):
        raise InputError(
            f"the configuration {str(path)!r} {fault}; give a YAML file with one "
            "setting a line"
        )
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), _plain_yaml(yaml))
    except OSError as problem:
        raise InputError(
            f"the configuration {str(path)!r} cannot be read "
            f"({problem.strerror}); give a YAML file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        where = getattr(problem, "problem_mark", None)
        where = "" if where is None else f" from line {where.line + 1} on"
        raise InputError(
            f"the configuration {str(path)!r} is no YAML{where}; write one setting a "
            "line, such as steps: 2000"
        ) from None
    if not isinstance(entries or {}, Mapping):
        raise InputError(
            f"the configuration {str(path)!r} holds no settings; write one a "
            "line, such as steps: 2000"
        )
    chosen = {}
    for key, value in (entries or {}).items():
        name = key.replace("-", "_") if isinstance(key, str) else ""
        if name not in known:
            raise InputError(
                f"{str(path)!r} sets {shown(key)}, which is no setting of this "
                f"command; {nearest(name[:80], known)}"
            )
        if name in chosen:
            raise InputError(
                f"{str(path)!r} sets {shown(key)} twice, with - and with _; leave one "
                "of them out"
            )
        chosen[name] = _typed(
            value, known[name], f"{str(path)!r} sets {key}: {shown(value)}"
        )
    return chosen


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@functools.cache
def _plain_yaml(yaml: types.ModuleType) -> type:
    """A loader for plain settings: a few levels, aliases of single values only, and a
    value that is none of its kind is an error of YAML, with its line.
    """

    class Plain(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()
                if not isinstance(self.anchors.get(event.anchor), yaml.ScalarNode):
                    self._refuse("an alias of more than one value", event.start_mark)
            self.depth += 1
            if self.depth > _DEEPEST:
                self._refuse("too many levels", self.peek_event().start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node, deep=False):
            lines: dict = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                before = lines.setdefault(str(getattr(key, "value", "")), line)
                if before != line and isinstance(key, yaml.ScalarNode):
                    raise InputError(
                        f"the configuration sets {shown(key.value)} twice, on lines "
                        f"{before} and {line}; leave one of them out"
                    )
            return super().construct_mapping(node, deep)

        def construct_object(self, node, deep=False):
            try:
                return super().construct_object(node, deep)
            except (ValueError, LookupError, AttributeError, TypeError) as problem:
                self._refuse(str(problem), node.start_mark)

        def _refuse(self, what, mark):
            raise yaml.constructor.ConstructorError(None, None, what, mark)

    return Plain


def _typed(value, hint, said: str):
    """A value out of YAML as the type of its setting; YAML reads 1e-3 as text, and
    one name is no list.
    """
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        parts = parts_of(value) if isinstance(value, str) else value
        if not isinstance(parts, Iterable) or isinstance(parts, Mapping):
            parts = [parts]
        kind = typing.get_args(hint)[0]
        return tuple(
            _typed(part.strip() if isinstance(part, str) else part, kind, said)
            for part in parts
            if part != ""
        )
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    expected = {**names, str: "text"}[hint]
    if hint is float and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    elif isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    elif hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{said}; give {expected}")
