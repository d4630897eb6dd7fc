"""The networks that ship trained, each with a card that says how it came about and
what it cannot do.

A file of the zoo holds one network: of one style, named as the style, of several styles
that can be blended, for a task of restoration, named as the task and the loss, or one
that draws from a code, named as what it draws and the loss.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import register
from .errors import InputError, nearest
from .files import is_file, is_path, no_file

if TYPE_CHECKING:  # the names and the cards are read without torch
    import torch
    from torch import nn

    from .networks import TransformNet

FOLDER = Path(__file__).parent / "assets" / "styles"
RESTORERS = FOLDER.parent / "restoration"
LIKENESS = FOLDER.parent / "likeness"
INVERTED, INVERTER_LOSSES = ("relu3_3", "relu4_3"), ("image", "deepsim")
FULL_INVERTERS = ("relu4_3", "relu5_3")  # larger, with more steps, by DeePSiM
VAE_LOSSES = ("pixel", "deepsim", "gan")
DIFFUSION = FOLDER.parent / "diffusion"
DIFFUSION_LOSSES = ("diffusion",)
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
"""What every card holds, and how :func:`card_text` calls it; a curve is a list of
[step, content, style, total], or of what the card's ``terms`` say."""


def available(folder: str | os.PathLike | None = None) -> dict[str, dict]:
    """Name and card of every network in the zoo; only the heads of the files are read,
    and torch is not loaded.

    Args:
        folder: where the ``.safetensors`` files are; the shipped styles if left out,
            ``zoo.RESTORERS`` for those that enlarge, denoise, deblur and inpaint,
            ``zoo.LIKENESS`` for those that draw from a code.

    Returns:
        ``{name: card}``, sorted by name. Besides what ``CARD`` lists, a card has
        ``bytes``, the size of its file, and either ``styles``, the names that the
        network was trained for, or ``task``, the command that uses it, with the
        ``factor`` of one that enlarges and the ``layer`` of one that inverts; the task
        of a discriminator is ``"discriminator"``, which is no command.

    Raises:
        InputError: a file is damaged or none of ours.

    Example:
        >>> "eight_styles" in available()
        True
        >>> sorted(available(RESTORERS))[:2]
        ['deblur_combined', 'denoise_camera']
        >>> available(RESTORERS)["denoise_pixel"]["steps"]
        8000

    Taught in chapter 5.
    """
    paths = sorted(Path(FOLDER if folder is None else folder).glob("*.safetensors"))
    return {path.stem: _card(path) for path in paths}


def installed() -> dict[str, Path]:
    """The file of every network of every task of the register, by name; styles first.

    Taught in chapter 5.
    """
    known = {
        "styles": FOLDER,
        "restoration": RESTORERS,
        "likeness": LIKENESS,
        "diffusion": DIFFUSION,
    }
    files = {}
    for name in sorted({spec.folder for spec in register.all().values()}, reverse=True):
        folder = known.get(name, FOLDER.parent / name)
        files |= {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    return files


def cards() -> dict[str, dict]:
    """Name and card of every network of every task, see :func:`available`.

    Taught in chapter 5.
    """
    return {name: _card(path) for name, path in installed().items()}


def styles(folder: str | os.PathLike | None = None) -> dict[str, list[str]]:
    """Every style that the zoo knows, and the names of the networks that paint it,
    the quickest first.

    Example:
        >>> "great_wave" in styles()
        True
        >>> styles()["great_wave"]
        ['eight_styles', 'eight_styles_full']
    """
    found: dict[str, list[str]] = {}
    cards = available(folder)

    def cost(name: str) -> tuple[int, int]:
        return len(cards[name]["styles"]), cards[name]["bytes"]

    for name in sorted(cards, key=cost):
        for style in cards[name]["styles"]:
            found.setdefault(style, []).append(name)
    return dict(sorted(found.items()))


def _card(path: Path) -> dict:
    """The card in the head of a safetensors file: 8 bytes of length, then JSON."""
    try:
        if fault := no_file(path):
            raise OSError(fault)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("no safetensors file")
            facts = json.loads(file.read(length))["__metadata__"]
        card, config = json.loads(facts.get("card", "{}")), json.loads(facts["config"])
        if "styles" in config:
            card["styles"] = config["styles"] or [path.stem]
        else:
            spec = register.of_kind(config["kind"])
            card["task"] = _use_of(config["kind"])
            if spec is not None and spec.folder == "restoration":
                card["factor"] = config.get("factor", 1)
            if config["kind"] == "inversion":
                card["layer"] = config["layer"]
        return {**card, "bytes": path.stat().st_size}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as problem:
        raise InputError(
            f"the network {str(path)!r} cannot be read (it is damaged, or none of "
            "ours); install the package again, or take the file away"
        ) from problem


def _use_of(kind: str) -> str:
    """The command that uses a kind of networks; the kind itself where none does."""
    spec = register.of_kind(kind)
    return kind if spec is None else spec.used_by


def card_text(card: Mapping) -> str:
    """A card for people to read: one line for each fact, and the loss curve in at most
    six of its points.

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
                f"{point[0]:g}: " + ", ".join(f"{term:.4g}" for term in point[1:])
                for point in _few(value, 6)
            ]
            value = f"{terms[0]}: {', '.join(terms[1:])}\n" + "\n".join(value)
        elif key == "seconds":
            hours, minutes = value / 3600, value / 60
            value = f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min"
        title = CARD.get(key, key.replace("_", " "))
        lines.append(f"{title}: " + _text(value).replace("\n", "\n  "))
    return "\n".join(lines)


def _few(points: list, count: int) -> list:
    if len(points) <= count:
        return points
    last = len(points) - 1
    return [points[round(number * last / (count - 1))] for number in range(count)]


def _text(value) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key.replace('_', ' ')} {_text(part)}" for key, part in value.items()
        )
    if isinstance(value, list | tuple):
        if len(value) <= 8 or not isinstance(value[0], float):
            return ", ".join(map(_text, value))
        few = _few(list(value), 6)
        return f"{', '.join(map(_text, few))} ({len(few)} of {len(value)})"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def load_style(
    name: str | os.PathLike | Mapping[str, float],
    device: str | torch.device | None = None,
) -> TransformNet:
    """A trained network by the name of a style, by its own name, or from a file.

    Of several networks that paint a style the quickest is taken, and one for that style
    alone before all. A network of several styles paints the one that it was asked for
    by, unless another is given; ``network.only(style)`` is the same as a network of one
    style. A blend of styles needs one network that knows all of them.

    Args:
        name: a style such as ``"great_wave"``, a network such as ``"eight_styles"``,
            the path of a ``.safetensors`` file that
            :func:`pltutorial.networks.files.save_network` wrote, or the weights of a
            blend.
        device: where to put it; None takes the best there is.

    Raises:
        InputError: there is no such style (with the nearest name), or the file is no
            network, damaged, or of another architecture or version.

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

    if isinstance(name, Mapping):
        names = [str(style) for style in name]
    else:
        names = [str(name)]
    if not isinstance(name, Mapping) and _is_path(names[0]):
        instead = "`pltutorial transfer` for the style of any picture"
        network = _load_file(names[0], device, instead)
        if (use := _use_of(network.kind)) != "stylize":
            use = "" if use == network.kind else f"use it with `pltutorial {use}`, or "
            raise InputError(
                f"the network {names[0]!r} has no style; {use}give one that "
                "`pltutorial train style` wrote"
            )
        return network
    found = _network_for(names)
    network = load_network(FOLDER / f"{found}.safetensors", device)
    if network.style_names and names != [found]:
        network.chosen = dict(name) if isinstance(name, Mapping) else names[0]
        network.blend(network.chosen)  # refuses weights that are none
    return network


def _load_file(path: str, device: str | torch.device | None, instead: str) -> nn.Module:
    from .formats import endings
    from .networks import load_network

    if Path(path).suffix.lower() in endings():
        raise InputError(
            f"{path!r} is a picture and no network; give a "
            f".safetensors file, or {instead}"
        )
    return load_network(path, device)


def _is_path(name: str) -> bool:
    return is_path(name) or is_file(name)


def _network_for(names: list[str]) -> str:
    """The network with the fewest styles that has all of these."""
    known = styles()
    if not known:
        raise InputError(
            f"no trained network is installed in {str(FOLDER)!r}; train one with "
            "`pltutorial train style`, or install the package again"
        )
    if len(names) == 1 and names[0] in available():
        return names[0]
    for style in names:
        if style not in known:
            raise InputError(
                f"there is no trained style {style!r}; {nearest(style, known)}, and "
                "`pltutorial transfer` takes any picture"
            )
    if not names:
        raise InputError(f"no style was given; name one of {', '.join(known)}")
    for network in known[names[0]]:
        if all(network in known[style] for style in names):
            return network
    raise InputError(
        f"no network knows {', '.join(names)} together; blend styles of one network, "
        "`pltutorial styles` lists them"
    )


def load_restorer(
    task: str,
    loss: str | float | None = None,
    *,
    factor: int = 4,
    model: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """A trained network that enlarges, denoises, deblurs or inpaints.

    Args:
        task: ``"upscale"``, ``"denoise"``, ``"deblur"`` or ``"inpaint"``.
        loss: ``"pixel"``, or ``"feature"`` for upscaling and ``"combined"`` for the
            others; a number between 0 (pixel) and 1 (the other) blends the weights of
            both. For upscaling by 4 and for inpainting there is ``"adversarial"`` too,
            for denoising ``"camera"``, for deblurring ``"combined"`` alone. Left out:
            ``"feature"`` for upscaling, ``"adversarial"`` for inpainting,
            ``"combined"`` for the others.
        factor: for upscaling, how much larger each side becomes.
        model: a file that :func:`pltutorial.networks.files.save_network` wrote, in
            place of a network that ships.
        device: where to put it; None takes the best there is.

    Raises:
        InputError: an unknown task or loss, a factor that no network is for, or a file
            that is no network, damaged, or for something else.

    Example:
        >>> network = load_restorer("upscale", "pixel", factor=4, device="cpu")
        >>> network.factor
        4

    Taught in chapter 6.
    """
    specs = register.all()
    restorers = {n: spec for n, spec in specs.items() if spec.folder == "restoration"}
    if task not in restorers:
        raise InputError(f"there is no task {task!r}; {nearest(str(task), restorers)}")
    if model is not None:
        network = _load_file(
            str(model),
            device,
            f"leave the model out for the network of `{task}` that ships",
        )
        check_network(network, task, f"the network {str(model)!r}")
        return network
    losses = restorers[task].losses
    loss = losses[-1] if loss is None else loss
    names, share = [str(loss)], 0.0
    if loss not in losses:
        blended = restorers[task].blended
        share = _share(loss, losses, blended)
        names = [blended[0]] * (share < 1) + [blended[-1]] * (share > 0)
    start = task
    if task == "upscale":
        start = f"upscale_x{_shipped_factor(factor, names[-1])}"
    networks = [
        _load_shipped(RESTORERS, f"{start}_{name}", task, device) for name in names
    ]
    if len(networks) == 1:
        return networks[0]
    from .networks import blend_networks

    return blend_networks(*networks, share)


def inverter_losses(layer: str) -> tuple[str, ...]:
    """The losses of the inverters of a layer that ship, the one last that is taken if
    none is named.

    Raises:
        InputError: none ships for this layer (with the nearest that has one).
    """
    pair = INVERTER_LOSSES if layer in INVERTED else ()
    losses = (*pair, *(("full",) if layer in FULL_INVERTERS else ()))
    if not losses:
        raise _no_inverter(f"layer {layer!r}", layer, {*INVERTED, *FULL_INVERTERS})
    return losses


def _no_inverter(what: str, value: str, known: Iterable[str]) -> InputError:
    return InputError(
        f"no inverter that ships has the {what}; "
        f"{nearest(str(value), sorted(known))}, or train one with "
        "`pltutorial train invert`"
    )


def load_inverter(
    layer: str = "relu4_3",
    loss: str | None = None,
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`InversionNet`: it draws the picture of a code of VGG-16.

    Args:
        layer: ``"relu3_3"``, ``"relu4_3"`` or ``"relu5_3"``.
        loss: what it was trained with: ``"image"``, squared error of pixels,
            ``"deepsim"``, all three terms, or ``"full"``, all three in a larger network
            that was trained for longer. relu3_3 has the first two, relu5_3 the
            last; left out, the last that the layer has.
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train invert`` or ``train autoencode`` wrote, in
            place of a network that ships.

    Raises:
        InputError: there is no such network (with the nearest name), or its file is
            missing, damaged, or for something else.

    Example:
        >>> network = load_inverter("relu3_3", "image", device="cpu")
        >>> code = encode(torch.rand(1, 3, 32, 32), "relu3_3", LossNetwork())
        >>> network(code).shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 8.
    """
    if model is not None:
        return load_for("invert", model, device)
    losses = inverter_losses(layer)
    loss = losses[-1] if loss is None else loss
    if loss not in losses:
        raise _no_inverter(f"loss {loss!r} at {layer}", loss, losses)
    return _load_shipped(LIKENESS, f"invert_{layer}_{loss}", "invert", device)


def load_decoder(
    layer: str = "relu4_3", device: str | torch.device | None = None
) -> nn.Module:
    """A trained :class:`InversionNet` for codes whose statistics were changed: trained
    on pixels and features alone, without an adversary.

    Args:
        layer: ``"relu3_3"`` or ``"relu4_3"``.
        device: where to put it; None takes the best there is.

    Raises:
        InputError: another layer, or a file that is missing or damaged.
    """
    if layer not in INVERTED:
        raise InputError(
            f"no decoder that ships has the layer {layer!r}; {nearest(layer, INVERTED)}"
        )
    return _load_shipped(LIKENESS, f"decode_{layer}", "invert", device)


def load_vae(
    loss: str = "pixel",
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`VAE`; those that ship draw cartoon faces.

    Args:
        loss: the likeness it was trained with: ``"pixel"``, ``"deepsim"``, or
            ``"gan"``, the features of its own discriminator (VAE/GAN).
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train vae`` wrote, in place of a
            network that ships.

    Raises:
        InputError: there is no such network (with the nearest name), or its file is
            missing, damaged, or for something else.

    Example:
        >>> network = load_vae("pixel", device="cpu")
        >>> z = torch.randn(2, network.latent)
        >>> network.decode(z).shape == (2, 3, network.size, network.size)
        True

    Taught in chapter 9.
    """
    if model is not None:
        return load_for("sample", model, device)
    if loss not in VAE_LOSSES:
        raise InputError(
            f"no VAE that ships has the loss {loss!r}; "
            f"{nearest(str(loss), VAE_LOSSES)}, or train one with "
            "`pltutorial train vae`"
        )
    return _load_shipped(LIKENESS, f"vae_{loss}", "vae", device)


def load_diffusion(
    loss: str = "diffusion",
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`FlowNet`; those that ship draw cartoon faces.

    Args:
        loss: ``"diffusion"``, trained on pixels.
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train diffuse`` wrote, in place of a
            network that ships.

    Raises:
        InputError: there is no such network (with the nearest name), or its file is
            missing, damaged, or for something else.

    Example:
        >>> network = load_diffusion(device="cpu")
        >>> network.condition, len(network.classes)
        ('hair_color', 5)
        >>> network(torch.randn(1, 3, 48, 48), 0.0).shape
        torch.Size([1, 3, 48, 48])

    Taught in chapter 11.
    """
    if model is not None:
        return load_for("sample", model, device)
    if loss not in DIFFUSION_LOSSES:
        raise InputError(
            f"no network of diffusion that ships has the loss {loss!r}; "
            f"{nearest(str(loss), DIFFUSION_LOSSES)}, or train one with "
            "`pltutorial train diffuse`"
        )
    return _load_shipped(DIFFUSION, loss, "diffuse", device)


def load_colorizer(
    device: str | torch.device | None = None,
    *,
    model: str | os.PathLike | None = None,
) -> nn.Module:
    """A trained :class:`ColorizationNet`; the one that ships chooses among classes.

    Args:
        device: where to put it; None takes the best there is.
        model: a file that ``pltutorial train colorize`` wrote, in place of the network
            that ships.

    Raises:
        InputError: the file is missing, damaged, or for something else.
    """
    if model is not None:
        return load_for("colorize", model, device)
    return _load_shipped(LIKENESS, "colorize_classes", "colorize", device)


def load_for(
    task: str, model: str | os.PathLike, device: str | torch.device | None = None
) -> nn.Module:
    """A network from a file.

    Raises:
        InputError: the file is missing, damaged, or holds a network for something else.
    """
    network = _load_file(
        str(model),
        device,
        f"train one with `pltutorial train {register.users(task)[0].name}`",
    )
    check_network(network, task, f"the network {str(model)!r}")
    return network


def _share(
    loss: str | float, losses: tuple[str, ...], blended: tuple[str, ...]
) -> float:
    """Of the second of two blended losses, between 0 and 1."""
    if len(losses) == 1:
        raise InputError(f"there is no loss {loss!r}; {nearest(str(loss), losses)}")
    try:
        share = float(loss)
    except (TypeError, ValueError):
        raise InputError(
            f"there is no loss {loss!r}; {nearest(str(loss), losses)}, and a number "
            f"between 0 and 1 blends {blended[0]} and {blended[-1]}"
        ) from None
    if not 0 <= share <= 1:
        raise InputError(
            f"loss={loss} was given; give {blended[0]} (0), {blended[-1]} "
            "(1), or a number between"
        )
    return share


def _shipped_factor(factor: int, loss: str) -> int:
    paths = RESTORERS.glob(f"upscale_x*_{loss}.safetensors")
    known = sorted({int(path.stem.split("_")[1][1:]) for path in paths})
    if known and factor not in known:
        raise InputError(
            f"no network for the loss {loss!r} that ships enlarges by {factor}; give "
            f"{' or '.join(map(str, known))}, or the network that `pltutorial train "
            "upscale --factor 2` wrote"
        )
    return factor


def _load_shipped(
    folder: Path, name: str, task: str, device: str | torch.device | None
) -> nn.Module:
    from .networks import load_network

    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"the trained network {name!r} is missing from {str(folder)!r}; install "
            f"the package again, or train one with `pltutorial train {task}`"
        )
    return load_network(path, device)


def check_network(
    network: nn.Module, task: str, what: str = "the network that was given"
) -> None:
    """Refuse a network that is not for this task.

    Raises:
        InputError: it is for another, which the sentence names.
    """
    specs = register.users(task)
    kind = getattr(network, "kind", None)
    if any(kind in spec.networks for spec in specs):
        return
    if kind is None:
        use = f"a {type(network).__name__}"
    elif kind == "discriminator":
        use = "a discriminator, which judges pictures and makes none"
    else:
        use = f"of the kind {kind!r}, for `{_use_of(kind)}`"
    raise InputError(
        f"{what} is {use}; give one that `pltutorial train {specs[0].name}` wrote"
    )
