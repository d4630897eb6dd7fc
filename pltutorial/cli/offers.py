"""What the service offers: each task of the register that makes a picture of a picture,
and the styles. Nothing here takes a path: no request reads a file of this machine.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import register
from ..errors import InputError, nearest, shown
from ..register import Option
from ..zoo import load_style, styles

MOST_TIMES = 16
"""The largest number of an option that has a least one and none of its own, such as the
rounds of re-encoding: a request must not keep the others waiting for hours."""
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True}
_BOOLEANS |= {"0": False, "false": False, "no": False, "off": False}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Asked:
    """A network and its options, as a request names them; equal ones can be computed
    together.
    """

    name: str
    options: tuple[tuple[str, object], ...] = ()
    loss: str | None = None

    @property
    def given(self) -> dict[str, object]:
        """The options by name."""
        return dict(self.options)


@dataclass(frozen=True)
class Offer:
    """A task as the service has it; what is called is as in
    :class:`pltutorial.register.Command`.

    Args:
        name: of ``POST /v1/NAME``.
        help: what it does.
        options: that a query may hold; the files of the command are not among them.
        load: the network.
        run: the pictures (N, 3, H, W) that it makes.
        size: width and height of one of them.
        read: the options with what the picture itself holds, such as its transparent
            pixels; None where it holds nothing else.
        losses: what ``loss`` says; empty where there is no such option.
        unsaid: options with their values where the command has some that a query
            cannot give.
    """

    name: str
    help: str
    options: tuple[Option, ...]
    load: Callable
    run: Callable
    size: Callable
    read: Callable | None = None
    losses: str = ""
    unsaid: tuple[tuple[str, object], ...] = ()

    def asked(self, query: Mapping[str, str]) -> Asked:
        """The options of a query, with the defaults of those that it leaves out.

        Raises:
            InputError: an option that there is not, or one that its value is none for.
        """
        known = {option.name: option for option in self.options}
        names = [*known, *(["loss"] if self.losses else [])]
        given = {key.replace("-", "_"): value for key, value in query.items()}
        for key in given:
            if key not in names:
                near = nearest(key, [*names, "format"])
                raise InputError(
                    f"{self.name} has no option {shown(key)}; {near}, and GET /v1 "
                    "lists them"
                )
        options = dict(self.unsaid)
        for name, option in known.items():
            value = option.default
            if name in given:
                value = _value(option, given[name])
            _check(option, value)
            options[name] = value
        loss = _word("loss", given["loss"]) if "loss" in given else None
        return Asked(self.name, tuple(sorted(options.items())), loss)

    def network(self, asked: Asked, device: object):
        """The network of what was asked for.

        Raises:
            InputError: there is none.
        """
        loss = {"loss": asked.loss} if self.losses else {}
        return self.load(model=None, device=device, **loss, **asked.given)

    def described(self) -> dict:
        """The same as JSON holds it."""
        options = {}
        for option in self.options:
            about = {"help": option.help, "kind": option.kind.__name__}
            about["default"] = option.default
            for bound in ("least", "most"):
                if (limit := getattr(_bounded(option), bound)) is not None:
                    about[bound] = limit
            options[option.name] = about
        if self.losses:
            options["loss"] = {"help": self.losses, "kind": "str", "default": None}
        return {"help": self.help, "path": f"/v1/{self.name}", "options": options}


@functools.cache
def offers() -> dict[str, Offer]:
    """All of them by name, sorted; a new task of the register is among them."""
    found = [_styling()]
    for spec in register.all().values():
        command = spec.command
        if command is None or not command.takes_picture:
            continue
        files = [option for option in command.options if option.kind is Path]
        found.append(
            Offer(
                command.name,
                command.help,
                tuple(option for option in command.options if option not in files),
                command.load,
                command.run,
                command.size,
                command.read,
                command.loss_help,
                tuple((option.name, option.default) for option in files),
            )
        )
    return {offer.name: offer for offer in sorted(found, key=lambda offer: offer.name)}


def styles_offered() -> Sequence[str]:
    """The names that ``style`` takes."""
    return list(styles())


def _styling() -> Offer:
    """``stylize``, whose command is written by hand."""
    return Offer(
        "stylize",
        "Give a picture a style that a network has learned (Johnson et al. 2016).",
        (
            Option("style", str, "The name of a trained style; it must be given."),
            Option(
                "strength",
                float,
                "From 0, the picture itself, to 1, the whole style.",
                default=1.0,
            ),
            Option(
                "preserve_color",
                str,
                "luminance or histogram: keep the picture's colours.",
            ),
            Option(
                "stroke",
                float,
                "How large the strokes are: 2 for twice as large, 0.5 for half.",
                default=1.0,
            ),
            Option(
                "size", int, "Longer side of the answer; the picture's if left out."
            ),
        ),
        _load_style,
        _stylize,
        _size,
    )


def _load_style(*, style=None, model=None, device=None, **options):
    """Styles that ship, by their names alone."""
    known = styles()
    if style is None:
        raise InputError(
            f"no style was given; name one with ?style= out of {', '.join(known)}"
        )
    if style not in known:
        near = nearest(style, known)
        raise InputError(f"there is no trained style {shown(style)}; {near}")
    return load_style(style, device)


def _stylize(
    network,
    image,
    *,
    precision,
    style,
    strength,
    preserve_color,
    stroke,
    size,
    **options,
):
    from ..tasks.style import stylize

    return stylize(
        image,
        style if network.style_names else None,
        network=network,
        strength=strength,
        preserve_color=preserve_color,
        stroke=stroke,
        size=size,
        precision=precision,
    )


def _size(network, image, *, size=None, **options) -> tuple[int, int]:
    from ..images import sides_for

    height, width = tuple(image.shape[-2:])
    if size is not None:
        height, width = sides_for((height, width), size)
    return width, height


def _value(option: Option, text: str) -> object:
    """What a query says, as the option's kind."""
    value: object = None
    if option.kind is bool:
        value = _BOOLEANS.get(text.lower())
    elif option.kind is int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    elif option.kind is float:
        if re.fullmatch(r"[+-]?[0-9.]{1,40}(e[+-]?[0-9]{1,3})?", text, re.IGNORECASE):
            try:
                value = float(text)
            except ValueError:
                value = None
        value = value if value is not None and math.isfinite(value) else None
    else:
        value = _word(option.name, text)
    if value is None:
        raise InputError(
            f"{option.name}={shown(text)} was given; give {_KINDS[option.kind]}"
        )
    return value


def _word(name: str, text: str) -> str:
    """A name, or a number: never a path, and nothing that a header could not hold."""
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,80}", text):
        raise InputError(
            f"{name}={shown(text)} was given; give a word of letters, digits and _"
        )
    return text


def _check(option: Option, value: object) -> None:
    try:
        _bounded(option).check(value)
    except InputError as problem:  # it names the command line's option
        said = str(problem).replace(f"--{option.name.replace('_', '-')} ", "", 1)
        raise InputError(f"{option.name}={said}") from None


def _bounded(option: Option) -> Option:
    """With a largest number where there is a least one."""
    if option.least is None or option.most is not None:
        return option
    return replace(option, most=MOST_TIMES)
