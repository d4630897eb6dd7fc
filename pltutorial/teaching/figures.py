"""Pictures, grids, sweeps, curves, and sliders that need no kernel; only notebooks
import this module.

Every function displays one output that holds the figure (HTML in which each picture
stands for itself and titles are text; curves as a drawing, SVG and PNG) and one short
line of rounded facts, which the notebook tests compare because they cannot compare
pictures. Outside IPython only the line is printed.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
from PIL import Image

from ..deferred import deferred_imports
from ..errors import InputError, needed, shown
from .facts import curve_facts, picture_facts, plain, sizes_of
from .panels import panels_page
from .sheets import fit, limits_of, panels_of, rgb
from .slider import slider_page, slug

with deferred_imports():
    from ..tensors import check_dense

# pixels; the width of a page's text column, and still legible at half the size on a
# phone
WIDTH = 760
# Okabe and Ito
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_LINES = ("-", "--", "-.", ":")


def show(
    image: Any,
    titles: str | Sequence[str] | None = None,
    columns: int | None = None,
    *,
    zoom: int | None = None,
    scale: str | tuple[float, float] | None = None,
    cmap: str = "gray",
    values: bool = False,
    facts: str = "mean",
    width: int = WIDTH,
) -> None:
    """Show pictures side by side, one panel each.

    Args:
        image: (N, 3, H, W) or (N, 1, H, W), (3, H, W), (1, H, W) or (H, W), or a
            list of these. Values in [0, 1] unless ``scale`` is given for
            single-channel pictures.
        titles: one title a panel.
        columns: panels in a row; by default as many as fit well, at most 3.
        zoom: every pixel becomes ``zoom`` by ``zoom`` equal pixels and the figure is
            stored without loss.
        scale: for single-channel pictures: ``"each"`` (every panel from its minimum to
            its maximum), ``"joint"`` (one range for all panels) or ``(low, high)``; a
            bar below the panels states it. None: black is 0 and white is 1.
        cmap: a matplotlib colour map for single-channel pictures,
            such as ``"viridis"``.
        values: write the value into every pixel (single-channel pictures with a
            zoom of at least 24).
        facts: what the compared line says: ``"mean"`` (of every panel, two decimals),
            ``"shape"`` (sizes only), or words of your own where numbers would differ
            between processors.
        width: of the figure in pixels, at most.

    Raises:
        InputError: for NaN, values outside [0, 1], other shapes, or a zoom
            that does not fit.

    Example:
        >>> black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> show(torch.cat([black, white]), ["black", "white"])
        show: 2 pictures 3x8x8, means 0.00 1.00

    Taught in chapter 1.
    """
    panels = panels_of(image, scale)
    columns = columns or _columns(len(panels))
    titles = _titles(titles, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    headings = [
        titles[i : i + columns] if titles else None
        for i in range(0, len(panels), columns)
    ]
    look = {"zoom": zoom, "scale": scale, "cmap": cmap, "width": width}
    page = panels_page(rows, headings, None, columns, values=values, **look)
    _display({"text/html": page}, f"show: {picture_facts(panels, facts)}")


def grid(
    rows: Sequence[Any],
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    *,
    zoom: int | None = None,
    scale: str | tuple[float, float] | None = None,
    cmap: str = "gray",
    facts: str = "mean",
    width: int = WIDTH,
) -> None:
    """Show a table of pictures: ``rows`` is a list of rows, each a list of pictures or
    a batch as for `show`.

    Args:
        rows: the rows, all of the same length.
        row_titles: one title a row, written along its left side.
        column_titles: one title a column, written above the first row.
        zoom, scale, cmap, facts, width: as for `show`.

    Raises:
        InputError: as `show`, and where rows or titles differ in number.

    Example:
        >>> black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> rows = [[black, white], [white, black]]
        >>> grid(rows, row_titles=["above", "below"])
        grid: 2 rows x 2 columns, 4 pictures 3x8x8, means 0.00 1.00 1.00 0.00

    Taught in chapter 2.
    """
    table = [panels_of(row, scale) for row in rows]
    if not table or len({len(row) for row in table}) != 1:
        counts = ", ".join(str(len(row)) for row in table) or "no"
        raise InputError(
            f"grid was given rows of {counts} pictures; give every row the "
            "same number of pictures."
        )
    if row_titles is not None and len(row_titles) != len(table):
        raise InputError(
            f"grid was given {len(row_titles)} row titles for {len(table)} "
            "rows; give one a row."
        )
    columns = _titles(column_titles, len(table[0]), "column titles", "columns")
    look = {"zoom": zoom, "scale": scale, "cmap": cmap, "width": width}
    rows_named = [str(title) for title in row_titles or [""] * len(table)]
    page = panels_page(
        table, [columns], rows_named, len(table[0]), values=False, **look
    )
    panels = [panel for row in table for panel in row]
    line = (
        f"grid: {len(table)} rows x {len(table[0])} columns, "
        f"{picture_facts(panels, facts)}"
    )
    _display({"text/html": page}, line)


def sweep(
    images: Mapping[Any, Any],
    name: str,
    columns: int | None = None,
    *,
    zoom: int | None = None,
    scale: str | tuple[float, float] | None = None,
    cmap: str = "gray",
    facts: str = "mean",
    width: int = WIDTH,
) -> None:
    """Show what one setting does: one panel for each of its values,
    titled ``name = value``.

    Args:
        images: ``{value: picture}`` in the order of the panels.
        name: of the setting that changes.
        columns, zoom, scale, cmap, facts, width: as for `show`.

    Raises:
        InputError: as `show`.

    Example:
        >>> image = torch.full((1, 3, 8, 8), 0.5)
        >>> brighter = {gain: gain * image for gain in (0.5, 1, 2)}
        >>> sweep(brighter, "gain")
        sweep: gain = 0.5 1 2, 3 pictures 3x8x8, means 0.25 0.50 1.00

    Taught in chapter 5.
    """
    panels = panels_of(list(images.values()), scale)
    titles = _titles([f"{name} = {plain(value)}" for value in images], len(panels))
    columns = columns or _columns(len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    headings = [titles[i : i + columns] for i in range(0, len(panels), columns)]
    look = {"zoom": zoom, "scale": scale, "cmap": cmap, "width": width}
    page = panels_page(rows, headings, None, columns, values=False, **look)
    line = (
        f"sweep: {name} = {' '.join(plain(value) for value in images)}, "
        f"{picture_facts(panels, facts)}"
    )
    _display({"text/html": page}, line)


def curves(
    lines: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    *,
    log: bool | str = False,
    title: str | None = None,
    markers: bool = False,
    facts: str = "ends",
) -> None:
    """Draw lines, told apart by colour and by dashes, in one axis.

    Args:
        lines: ``{label: y}`` with x = 0, 1, 2 ..., or ``{label: (x, y)}``.
        xlabel, ylabel: the axes' labels, with units.
        log: a logarithmic y axis (True or ``"y"``), x axis (``"x"``),
            or both (``"xy"``).
        title: above the axis; usually the caption says it better.
        markers: a dot at every point.
        facts: what the compared line says: ``"ends"`` (first and last value, two
            digits), ``"trend"`` (falls, rises or stays: for an optimisation's losses,
            whose digits differ between processors), ``"shape"``
            (numbers of points only), or words of your own.

    Raises:
        InputError: for NaN or infinite values, unequal lengths, no line, or values of 0
            or less on a logarithmic axis.

    Example:
        >>> lines = {"loss": [4.0, 2.0, 1.0]}
        >>> curves(lines, "step", "loss")
        curves: loss 3 points from 4 to 1

    Taught in chapter 1.
    """
    Figure = needed("matplotlib.figure", "curves", "notebook").Figure

    log = {True: "y", False: ""}.get(log, log)
    series = {str(label): _line(label, line, log) for label, line in lines.items()}
    if not series:
        raise InputError(
            'curves was given no line; give a mapping such as {"L-BFGS": values}.'
        )
    figure = Figure(
        figsize=(7.2, 4.3), dpi=100, layout="constrained", facecolor="white"
    )
    axis = figure.add_subplot()
    for i, (label, (x, y)) in enumerate(series.items()):
        marker = "o" if markers or len(x) == 1 else None
        color, dashes = _COLORS[i % len(_COLORS)], _LINES[i % len(_LINES)]
        style = {"color": color, "linestyle": dashes, "linewidth": 2.2}
        axis.plot(x, y, label=label, marker=marker, **style)
    if "y" in log:
        axis.set_yscale("log")
    if "x" in log:
        axis.set_xscale("log")
    axis.set_xlabel(xlabel, fontsize=15)
    axis.set_ylabel(ylabel, fontsize=15)
    axis.tick_params(labelsize=13)
    axis.grid(color="#dddddd", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    if "x" not in log and all((x == x.round()).all() for x, _ in series.values()):
        axis.xaxis.get_major_locator().set_params(integer=True)
    if title:
        axis.set_title(title, fontsize=15)
    if len(series) > 1:
        frame = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}
        axis.legend(fontsize=13, handlelength=2.8, **frame)
    line = f"curves: {curve_facts(series, facts)}"
    _display(_drawings(figure, line), line)


def _drawings(figure, line: str) -> dict[str, str]:
    """The drawing sharp at every size (SVG), and for readers that show none, as PNG."""
    matplotlib = needed("matplotlib", "curves", "notebook")
    drawn, sharp = io.BytesIO(), io.StringIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    # 64 colours are enough for lines and letters, and a third of the bytes.
    picture = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    # Letters stay letters; the names in the drawing come from its line of facts.
    settings = {"svg.fonttype": "none", "svg.hashsalt": line}
    with matplotlib.rc_context(settings):
        figure.savefig(sharp, format="svg", metadata={"Date": None, "Creator": None})
    return {"image/svg+xml": sharp.getvalue(), "image/png": _encode(picture, "PNG")}


def frame_slider(
    frames: Any,
    labels: Sequence[Any],
    alt: str,
    name: str,
    *,
    start: int = 0,
    scale: str | tuple[float, float] | None = None,
    cmap: str = "gray",
    facts: str = "shape",
    width: int = 384,
    quality: int = 80,
) -> None:
    """Show frames one at a time over a slider that works without a kernel,
    published or from a file.

    Arrow keys, Home, End, the page keys or a finger move it, and a screen reader reads
    each frame's label and alternative text. A button lays the frames side by side; so
    do print and readers without JavaScript.

    Args:
        frames: pictures of one size, as for `show`.
        labels: one a frame, such as the setting's values.
        alt: what the picture shows, for those who cannot see it; each frame's
            label is added to it.
        name: of what the slider changes; it is written beside the slider, and the HTML
            id comes from it, so it must be unique on a page.
        start: the index of the frame that is shown first.
        scale, cmap: as for `show`.
        facts: as for `show`, with ``"shape"`` as the default.
        width: of the frames in pixels, at most.
        quality: of the JPEG frames.

    Raises:
        InputError: as `show`, and for a single frame, unequal sizes, unequal numbers,
            no alt or no name.

    Example:
        >>> frames = torch.linspace(0, 1, 3).view(3, 1, 1, 1).expand(3, 3, 8, 8)
        >>> labels = ["black", "grey", "white"]
        >>> frame_slider(frames, labels, alt="a plain square", name="brightness")
        frame_slider: brightness = black grey white, 3 pictures 3x8x8

    Taught in chapter 1.
    """
    panels = panels_of(frames, scale)
    labels = [plain(label) for label in labels]
    if len(panels) < 2 or len({panel.shape for panel in panels}) != 1:
        raise InputError(
            f"frame_slider was given {sizes_of(panels)}; give at least two "
            "pictures of one size."
        )
    if len(labels) != len(panels):
        raise InputError(
            f"frame_slider was given {len(labels)} labels for {len(panels)} "
            "frames; give one a frame."
        )
    if not alt.strip() or not slug(str(name)):
        raise InputError(
            "frame_slider was given no alt text or no name; describe the picture "
            "and name the slider."
        )
    if not 0 <= start < len(panels):
        raise InputError(
            f"frame_slider cannot start at frame {start}; frames are 0 "
            f"to {len(panels) - 1}."
        )
    limits = limits_of(panels, scale)
    pictures = [fit(rgb(panel, limits, cmap), width, 2 * width) for panel in panels]
    frames = [
        f"data:image/jpeg;base64,{_encode(picture, 'JPEG', quality)}"
        for picture in pictures
    ]
    page = slider_page(str(name), labels, alt, frames, pictures[0].size, start)
    line = f"frame_slider: {name} = {' '.join(labels)}, {picture_facts(panels, facts)}"
    _display({"text/html": page}, line)


def live_panel(
    callback: Callable[..., None],
    start: Mapping[str, Any] | None = None,
    **choices: Sequence[Any],
) -> None:
    """Controls for the classroom that call ``callback`` whenever one is moved
    (ipywidgets, needs a kernel).

    Where nobody sits at a keyboard (the book's build, the tests) no widget is made: a
    line says that the cell comes alive in Jupyter, and the callback is called once with
    the starting values, so that what it shows is stored and tested.

    Args:
        callback: a function of the choices' names that displays something.
        start: starting values, by name; by default each choice's first value.
        choices: for each argument of the callback, the list of values to choose from.

    Raises:
        InputError: for a choice without values, or a starting value that
            is not among them.

    Example:
        >>> def blurred(sigma):
        ...     print(f"sigma = {sigma}")
        >>> live_panel(blurred, sigma=[1, 2, 4])
        live_panel (sigma = 1 2 4): run this cell in Jupyter ...
        sigma = 1

    Taught in chapter 1.
    """
    start = dict(start or {})
    for name, options in choices.items():
        options = list(options)
        if not options or start.setdefault(name, options[0]) not in options:
            raise InputError(
                f"live_panel cannot start {name!r} at {start.get(name)!r}; "
                f"choose one of {options}."
            )
    if not _somebody_is_there():
        parts = "; ".join(
            f"{name} = {' '.join(plain(v) for v in options)}"
            for name, options in choices.items()
        )
        # Printed, not displayed: the site would give a displayed line the caption of
        # the picture below it.
        print(
            f"live_panel ({parts}): run this cell in Jupyter to move it. "
            "It starts like this:"
        )
        callback(**start)
        return
    ipywidgets = needed("ipywidgets", "live panels", "notebook")
    from IPython.display import display

    controls = {}
    for name, options in choices.items():
        numbers = all(
            isinstance(option, int | float) and not isinstance(option, bool)
            for option in options
        )
        kind = ipywidgets.SelectionSlider if numbers else ipywidgets.Dropdown
        controls[name] = kind(
            options=[(plain(option), option) for option in options],
            value=start[name],
            description=name.replace("_", " "),
            style={"description_width": "initial"},
        )
        controls[name].continuous_update = False  # a callback may take a second
    display(
        ipywidgets.VBox(
            [*controls.values(), ipywidgets.interactive_output(callback, controls)]
        )
    )


def _somebody_is_there() -> bool:
    """Whether a person runs this cell: a front end that can ask for input is one that
    can move a widget.
    """
    if os.environ.get("PLTUTORIAL_STATIC"):
        return False
    kernel = getattr(_shell(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def _numbers(given) -> numpy.ndarray:
    """What was given for a curve, tensors too, in float64."""
    if hasattr(given, "detach"):
        check_dense(given, "a curve", floating=False, values=True)
        given = given.detach().double().cpu()
    try:
        return numpy.asarray(given, dtype=numpy.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{shown(given)} was given for a curve; give numbers, one a place"
        ) from None


def _line(label: str, line, log: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    pair = isinstance(line, tuple) and len(line) == 2 and numpy.ndim(line[0]) == 1
    y = _numbers(line[1] if pair else line)
    x = _numbers(line[0]) if pair else numpy.arange(y.size, dtype=numpy.float64)
    if y.ndim != 1 or x.shape != y.shape or not len(y):
        raise InputError(
            f"The curve {label!r} has {x.size} x and {y.size} y values; give as many "
            "of each, at least one."
        )
    if not (numpy.isfinite(x).all() and numpy.isfinite(y).all()):
        raise InputError(
            f"The curve {label!r} has NaN or infinite values; find out "
            "where they come from."
        )
    if ("y" in log and (y <= 0).any()) or ("x" in log and (x <= 0).any()):
        raise InputError(
            f"The curve {label!r} has values of 0 or less; leave them "
            "out or give log=False."
        )
    return x, y


def _columns(count: int) -> int:
    return {4: 2}.get(count, min(count, 3))


def _titles(
    titles, count: int, what: str = "titles", panels: str = "pictures"
) -> list[str] | None:
    if titles is None:
        return None
    titles = [titles] if isinstance(titles, str) else [str(title) for title in titles]
    if len(titles) != count:
        raise InputError(
            f"A figure was given {len(titles)} {what} for {count} "
            f"{panels}; give one each."
        )
    return titles


def _encode(picture: Image.Image, kind: str, quality: int = 85) -> str:
    data = io.BytesIO()
    if kind == "JPEG":
        picture.save(data, "JPEG", quality=quality, optimize=True, dpi=(100, 100))
    else:
        picture.save(data, "PNG", optimize=True)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _shell():
    """IPython's running shell, or None; IPython is not imported for it."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _display(bundle: dict[str, str], line: str) -> None:
    if _shell() is None:
        print(line)
        return
    from IPython.display import display

    display({**bundle, "text/plain": line}, raw=True)
