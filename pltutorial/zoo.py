"""The networks that ship trained, each with a card that says how it came about and what it cannot do.

A file of the zoo holds one network: of one style, named as the style, of several styles that can be blended, for a
task of restoration, named as the task and the loss, or one that draws from a code, named as what it draws and the loss.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, nearest

if TYPE_CHECKING:  # the names and the cards are read without torch
    import torch
    from torch import nn

    from .networks import TransformNet

FOLDER = Path(__file__).parent / "assets" / "styles"
RESTORERS = FOLDER.parent / "restoration"
LIKENESS = FOLDER.parent / "likeness"
INVERTED, INVERTER_LOSSES = ("relu3_3", "relu4_3"), ("image", "deepsim")
VAE_LOSSES = ("pixel", "deepsim", "gan")
TASKS = {
    "upscale": (("super_resolution", "sub_pixel"), ("pixel", "feature")),
    "denoise": (("denoising",), ("pixel", "combined")),
    "inpaint": (("inpainting",), ("pixel", "combined")),
}
"""What restores pictures: the kinds of networks that can, and the losses of those that ship."""
LIKENESS_TASKS = {
    "invert": (("inversion", "autoencoder"), "train invert"),
    "sample": (("vae",), "train vae"),
    "colorize": (("colorization",), "train colorize"),
}
"""What learned likeness is for: the kinds of networks, and the command that trains one."""
PRESERVE_COLOR = ("luminance", "histogram")
CARD = {
    "data": "trained on",
    "steps": "steps",
    "settings": "settings",
    "curve": "loss by step",
    "seconds": "time",
    "machine": "machine",
    "held_out": "on pictures never seen",
    "limits": "limits",
    "licence": "licence",
}
"""What every card holds, and how :func:`card_text` calls it; a curve is a list of [step, content, style, total], or of
what the card's ``terms`` say."""


def available(folder: str | os.PathLike | None = None) -> dict[str, dict]:
    """Name and card of every network in the zoo; only the heads of the files are read, and torch is not loaded.

    Args:
        folder: where the ``.safetensors`` files are; the shipped styles if left out, ``zoo.RESTORERS`` for the
            networks that enlarge, denoise and inpaint, ``zoo.LIKENESS`` for those that draw from a code.

    Returns:
        ``{name: card}``, sorted by name. Besides what ``CARD`` lists, a card has ``bytes``, the size of its file, and
        either ``styles``, the names that the network was trained for, or ``task``, the command that uses it, with the
        ``factor`` of one that enlarges and the ``layer`` of one that inverts; the task of a discriminator is
        ``"discriminator"``, which is no command.

    Raises:
        InputError: a file is damaged or none of ours.

    Example:
        >>> "great_wave" in available()
        True
        >>> sorted(available(RESTORERS))[:2]
        ['denoise_combined', 'denoise_pixel']
        >>> available(RESTORERS)["denoise_pixel"]["steps"]
        8000

    Taught in chapter 5.
    """
    paths = sorted(Path(FOLDER if folder is None else folder).glob("*.safetensors"))
    return {path.stem: _card(path) for path in paths}


def styles(folder: str | os.PathLike | None = None) -> dict[str, list[str]]:
    """Every style that the zoo knows, and the names of the networks that paint it, the quickest first."""
    found: dict[str, list[str]] = {}
    cards = available(folder)
    for name in sorted(cards, key=lambda name: len(cards[name]["styles"])):
        for style in cards[name]["styles"]:
            found.setdefault(style, []).append(name)
    return dict(sorted(found.items()))


def _card(path: Path) -> dict:
    """The card in the head of a safetensors file: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("no safetensors file")
            facts = json.loads(file.read(length))["__metadata__"]
        card, config = json.loads(facts.get("card", "{}")), json.loads(facts["config"])
        if "styles" in config:
            card["styles"] = config["styles"] or [path.stem]
        elif (task := _task(config["kind"])) in TASKS:
            card |= {"task": task, "factor": config.get("factor", 1)}
        else:
            layer = {"layer": config["layer"]} if config["kind"] == "inversion" else {}
            card |= {"task": task, **layer}
        return {**card, "bytes": path.stat().st_size}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            f"the network {str(path)!r} cannot be read (it is damaged, or none of ours); install the package again, "
            "or take the file away"
        ) from problem


def _task(kind: str) -> str:
    """What a network of this kind is for: a command, or the kind itself where none uses it."""
    known = {kind: task for tasks in (TASKS, LIKENESS_TASKS) for task in tasks for kind in tasks[task][0]}
    return known.get(kind, kind if kind == "discriminator" else "stylize")


def card_text(card: Mapping) -> str:
    """A card for people to read: one line for each fact, and the loss curve in at most six of its points.

    Example:
        >>> card = {"data": "770 photographs", "steps": 8000, "seconds": 1980}
        >>> print(card_text(card))
        trained on: 770 photographs
        steps: 8000
        time: 33 min

    Taught in chapter 5.
    """
    lines = []
    terms = card.get("terms", ["step", "content", "style", "total"])
    for key in [*CARD, *(key for key in card if key not in (*CARD, "terms"))]:
        value = card.get(key)
        if value in (None, "", [], {}):
            continue
        if key == "curve":
            value = [
                f"{point[0]:g}: " + ", ".join(f"{term:.4g}" for term in point[1:]) for point in _few(value, 6)
            ]
            value = f"{terms[0]}: {', '.join(terms[1:])}\n" + "\n".join(value)
        elif key == "seconds":
            value = f"{value / 3600:.1f} h" if value >= 3600 else f"{value / 60:.0f} min"
        title = CARD.get(key, key.replace("_", " "))
        lines.append(f"{title}: " + _text(value).replace("\n", "\n  "))
    return "\n".join(lines)


def _few(points: list, count: int) -> list:
    if len(points) <= count:
        return points
    return [points[round(number * (len(points) - 1) / (count - 1))] for number in range(count)]


def _text(value) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        few = _few(list(value), 6) if len(value) > 8 and isinstance(value[0], float) else value
        return ", ".join(map(_text, few)) + (f" ({len(few)} of {len(value)})" if few is not value else "")
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def load_style(
    name: str | os.PathLike | Mapping[str, float], device: str | torch.device | None = None
) -> TransformNet:
    """A trained network by the name of a style, by its own name, or from a file.

    Of several networks that paint a style the one for that style alone is taken: it is the quickest. A blend of
    styles needs one network that knows all of them.

    Args:
        name: a style such as ``"great_wave"``, a network such as ``"eight_styles"``, the path of a ``.safetensors``
            file that :func:`pltutorial.networks.save_network` wrote, or the weights of a blend.
        device: where to put it; None takes the best there is.

    Raises:
        InputError: there is no such style (with the nearest name), or the file is no network, damaged, or of
            another architecture or version.

    Example:
        >>> network = load_style("great_wave", device="cpu")
        >>> network(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
        >>> load_style("great_wafe")
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: ...; the nearest is 'great_wave'...

    Taught in chapter 5.
    """
    from .networks import load_network

    wanted = [str(style) for style in name] if isinstance(name, Mapping) else [str(name)]
    if not isinstance(name, Mapping) and _is_path(wanted[0]):
        network = _load_file(wanted[0], device, "`pltutorial transfer` for the style of any picture")
        task = _task(network.kind)
        if task != "stylize":
            use = "" if task == "discriminator" else f"use it with `pltutorial {task}`, or "
            raise InputError(
                f"the network {wanted[0]!r} has no style; {use}give one that `pltutorial train style` wrote"
            )
        return network
    return load_network(FOLDER / f"{_network_for(wanted)}.safetensors", device)


def _load_file(path: str, device: str | torch.device | None, instead: str) -> nn.Module:
    from .images import PICTURE_ENDINGS
    from .networks import load_network

    if Path(path).suffix.lower() in PICTURE_ENDINGS:
        raise InputError(f"{path!r} is a picture and no network; give a .safetensors file, or {instead}")
    return load_network(path, device)


def _is_path(name: str) -> bool:
    return bool(Path(name).suffix) or "/" in name or "\\" in name or Path(name).is_file()


def _network_for(wanted: list[str]) -> str:
    """The network with the fewest styles that has all those wanted."""
    known = styles()
    if not known:
        raise InputError(
            f"no trained network is installed in {str(FOLDER)!r}; train one with `pltutorial train style`, or install "
            "the package again"
        )
    if len(wanted) == 1 and wanted[0] in available():
        return wanted[0]
    for style in wanted:
        if style not in known:
            raise InputError(
                f"there is no trained style {style!r}; {nearest(style, known)}, and `pltutorial transfer` takes any picture"
            )
    if not wanted:
        raise InputError(f"no style was given; name one of {', '.join(known)}")
    for network in known[wanted[0]]:
        if all(network in known[style] for style in wanted):
            return network
    raise InputError(
        f"no network knows {', '.join(wanted)} together; blend styles of one network, `pltutorial styles` lists them"
    )


def load_restorer(
    task: str,
    loss: str | float | None = None,
    *,
    factor: int = 4,
    model: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """A trained network that enlarges, denoises or inpaints.

    Args:
        task: ``"upscale"``, ``"denoise"`` or ``"inpaint"``.
        loss: ``"pixel"``, or ``"feature"`` for upscaling and ``"combined"`` for the others, which is taken if left
            out; a number between 0 (pixel) and 1 (the other) blends the weights of both.
        factor: for upscaling, how much larger each side becomes.
        model: a file that :func:`pltutorial.networks.save_network` wrote, in place of a network that ships.
        device: where to put it; None takes the best there is.

    Raises:
        InputError: an unknown task or loss, a factor that no network is for, or a file that is no network, damaged,
            or for something else.

    Example:
        >>> network = load_restorer("upscale", "pixel", factor=4, device="cpu")
        >>> network.factor
        4

    Taught in chapter 6.
    """
    from .networks import load_network

    if task not in TASKS:
        raise InputError(f"there is no task {task!r}; {nearest(str(task), TASKS)}")
    if model is not None:
        network = _load_file(
            str(model), device, f"leave the model out for the network of `{task}` that ships"
        )
        check_network(network, task, f"the network {str(model)!r}")
        return network
    losses = TASKS[task][1]
    loss = losses[1] if loss is None else loss
    share = _share(loss, losses)
    start = f"upscale_x{_shipped_factor(factor)}" if task == "upscale" else task
    ends = [
        load_network(_shipped(f"{start}_{losses[end]}", task), device) for end in (0, 1) if share != 1 - end
    ]
    if len(ends) == 1:
        return ends[0]
    from .networks import blend_networks

    return blend_networks(*ends, share)


def load_inverter(
    layer: str = "relu4_3",
    loss: str = "deepsim",
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`InversionNet`: it draws the picture of a code of VGG-16.

    Args:
        layer: ``"relu3_3"`` or ``"relu4_3"``.
        loss: what it was trained with: ``"image"``, squared error of pixels, or ``"deepsim"``, all three terms.
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train invert`` or ``train autoencode`` wrote, in place of a network that ships.

    Raises:
        InputError: there is no such network (with the nearest name), or its file is missing, damaged, or for
            something else.

    Taught in chapter 8.
    """
    if model is not None:
        return load_for("invert", model, device)
    for name, value, known in (("layer", layer, INVERTED), ("loss", loss, INVERTER_LOSSES)):
        if value not in known:
            raise InputError(
                f"no inverter that ships has the {name} {value!r}; {nearest(str(value), known)}, or train one with "
                "`pltutorial train invert`"
            )
    return _load_likeness(f"invert_{layer}_{loss}", "invert", device)


def load_vae(
    loss: str = "pixel",
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`VAE`; those that ship draw emoji.

    Args:
        loss: the likeness it was trained with: ``"pixel"``, ``"deepsim"``, or ``"gan"``, the features of its own
            discriminator (VAE/GAN).
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train vae`` wrote, in place of a network that ships.

    Raises:
        InputError: there is no such network (with the nearest name), or its file is missing, damaged, or for
            something else.

    Taught in chapter 9.
    """
    if model is not None:
        return load_for("sample", model, device)
    if loss not in VAE_LOSSES:
        raise InputError(
            f"no VAE that ships has the loss {loss!r}; {nearest(str(loss), VAE_LOSSES)}, or train one with "
            "`pltutorial train vae`"
        )
    return _load_likeness(f"vae_{loss}", "vae", device)


def load_for(task: str, model: str | os.PathLike, device: str | torch.device | None = None) -> nn.Module:
    """A network from a file.

    Raises:
        InputError: the file is missing, damaged, or holds a network for something else.
    """
    network = _load_file(str(model), device, f"train one with `pltutorial {LIKENESS_TASKS[task][1]}`")
    check_network(network, task, f"the network {str(model)!r}")
    return network


def _load_likeness(name: str, task: str, device: str | torch.device | None) -> nn.Module:
    from .networks import load_network

    path = LIKENESS / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"the trained network {name!r} is missing from {str(LIKENESS)!r}; install the package again, or train one with "
            f"`pltutorial train {task}`"
        )
    return load_network(path, device)


def _share(loss: str | float, losses: tuple[str, str]) -> float:
    """Of the second loss: 0 or 1 for names, and a number as it is."""
    if loss in losses:
        return float(losses.index(loss))
    try:
        share = float(loss)
    except (TypeError, ValueError):
        raise InputError(
            f"there is no loss {loss!r}; {nearest(str(loss), losses)}, and a number between 0 and 1 blends both"
        ) from None
    if not 0 <= share <= 1:
        raise InputError(f"loss={loss} was given; give {losses[0]} (0), {losses[1]} (1), or a number between")
    return share


def _shipped_factor(factor: int) -> int:
    known = sorted({int(path.stem.split("_")[1][1:]) for path in RESTORERS.glob("upscale_x*_*.safetensors")})
    if known and factor not in known:
        raise InputError(
            f"no network that ships enlarges by {factor}; give {' or '.join(map(str, known))}, or the network that "
            "`pltutorial train upscale --factor 2` wrote"
        )
    return factor


def _shipped(name: str, task: str) -> Path:
    path = RESTORERS / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"the trained network {name!r} is missing from {str(RESTORERS)!r}; install the package again, or train one with "
            f"`pltutorial train {task}`"
        )
    return path


def check_network(network: nn.Module, task: str, what: str = "the network that was given") -> None:
    """Refuse a network that is not for this task.

    Raises:
        InputError: it is for another, which the sentence names.
    """
    kinds, train = LIKENESS_TASKS[task] if task in LIKENESS_TASKS else (TASKS[task][0], f"train {task}")
    kind = getattr(network, "kind", None)
    if kind in kinds:
        return
    if kind is None:
        use = f"a {type(network).__name__}"
    elif kind == "discriminator":
        use = "a discriminator, which judges pictures and makes none"
    else:
        use = f"of the kind {kind!r}, for `{_task(kind)}`"
    raise InputError(f"{what} is {use}; give one that `pltutorial {train}` wrote")


def stylize(
    image: torch.Tensor,
    style: str | Mapping[str, float] | None = None,
    *,
    network: TransformNet | None = None,
    strength: float = 1.0,
    preserve_color: str | None = None,
    size: int | tuple[int, int] | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Give pictures a style that a network has learned: one forward pass, no optimisation.

    Johnson et al. (2016), section 3.1; several styles at once by conditional instance normalisation, Dumoulin et al.
    (2017), section 2.2: the scales and shifts of the styles are averaged, not the pictures.

    Args:
        image: (N, 3, H, W) in [0, 1], at least 16 pixels along each side.
        style: the name of a style, or the weights of several, ``{"great_wave": 0.7, "poppies": 0.3}``; left out
            for a ``network`` of one style.
        network: a network to use, and to reuse: left out, the zoo's network for the style is loaded in each call.
        strength: from 0, the picture itself, to 1, the network's output; between them pixels are mixed. No
            network has a style that leaves pictures as they are, so nothing inside it could be turned down to
            end at the photograph exactly; the mixture does, and costs nothing.
        preserve_color: ``"luminance"`` keeps the picture's chrominance, and takes brightness alone from the output
            (Gatys et al. 2017, section 5.2); ``"histogram"`` gives the output the picture's mean colour and covariance
            (section 5.1, there done to the style, which here is learned already).
        size: longer side in pixels, or (height, width), to which the picture is resized first; None keeps its size.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, an unknown style, a strength outside [0, 1], or a picture that does not fit into memory.

    Example:
        >>> print_of_it = stylize(torch.rand(1, 3, 32, 48), "great_wave", device="cpu")
        >>> print_of_it.shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 5.
    """
    import torch

    from .color import match_color, with_colors_of
    from .device import is_out_of_memory
    from .images import check_image, resize
    from .networks import apply

    check_options(strength, preserve_color)
    check_image(image, "the picture", slack=0.5)
    if network is None:
        if style is None:
            known = ", ".join(styles()) or "those you trained"
            raise InputError(f"no style was given; name one of {known}, or give a network")
        network = load_style(style, device)
        if not network.style_names:
            style = None  # it paints that one style
    elif style is not None and not network.style_names:
        raise InputError(f"the style {style!r} was given for a network of one style; leave the style out")
    source = image.clamp(0, 1) if size is None else resize(image, size)
    shares = None if style is None else network.blend(style)
    check_memory(source.shape, network)
    try:
        output = apply(network, source, shares, precision=precision).to(image.device)
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise InputError(_too_large(source.shape)) from problem
    if preserve_color == "luminance":
        output = with_colors_of(output, source)
    elif preserve_color == "histogram":
        pairs = zip(output.split(1), source.split(1), strict=True)
        output = torch.cat([match_color(one, other) for one, other in pairs])
    return output if strength == 1 else torch.lerp(source, output, strength)


def check_options(strength: float = 1.0, preserve_color: str | None = None) -> None:
    """Refuse a strength outside [0, 1] and an unknown way to keep colours."""
    if not 0 <= strength <= 1:
        raise InputError(
            f"strength={strength} was given; give a number from 0 (the picture) to 1 (the style)"
        )
    if preserve_color not in (None, *PRESERVE_COLOR):
        raise InputError(
            f"preserve_color={preserve_color!r} is unknown; {nearest(str(preserve_color), PRESERVE_COLOR)}"
        )


def memory_needed(shape: tuple[int, ...], network: TransformNet) -> int:
    """Bytes that a forward pass takes at its peak: measured at 22 to 28 a pixel and channel of the first layer."""
    count, _, height, width = shape
    return count * height * width * (30 * network.config["width"] + 100)


def check_memory(shape: tuple[int, ...], network: TransformNet) -> None:
    """Refuse a picture that will not fit into the memory that is free, and say which size would.

    Raises:
        InputError: it will not fit.
    """
    from . import memory

    room, needed = memory.free(next(network.parameters()).device), memory_needed(shape, network)
    if needed > room:
        raise InputError(_too_large(shape, room, needed))


def _too_large(shape: tuple[int, ...], room: int | None = None, needed: int | None = None) -> str:
    from .memory import does_not_fit

    count, _, height, width = shape
    factor = 0.5 if room is None or not needed else min(0.9, (0.8 * room / needed) ** 0.5)
    what = f"{count} pictures of " if count > 1 else ""
    advice = f"give size={max(16, int(max(height, width) * factor))}"
    return does_not_fit(f"{what}{width}x{height} pixels", advice, room)
