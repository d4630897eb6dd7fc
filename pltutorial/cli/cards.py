"""The commands ``styles`` and ``models``: the networks that are
installed, and their cards.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..errors import InputError, nearest, on_a_line

Card = Annotated[
    str | None,
    typer.Option(help="Print the card of this network: data, settings, loss, limits."),
]
CardsAsJson = Annotated[
    bool, typer.Option("--json", help="Print names and cards as JSON.")
]


def list_styles(card: Card = None, as_json: CardsAsJson = False) -> None:
    """List the trained networks for styles that are installed; print their cards."""
    from ..zoo import available

    _print_cards(available(), card, as_json)


def list_models(card: Card = None, as_json: CardsAsJson = False) -> None:
    """List all trained networks that are installed, of every task;
    print their cards.
    """
    from .. import zoo

    _print_cards(zoo.cards(), card, as_json)


def _print_cards(cards: dict[str, dict], card: str | None, as_json: bool) -> None:
    """The names of networks, or one card, for people or as JSON."""
    from ..zoo import card_text

    if card is not None:
        if card not in cards:
            raise InputError(f"there is no network {card!r}; {nearest(card, cards)}")
        text = f"{card}\n{card_text(cards[card])}"
        print(json.dumps(cards[card], indent=1) if as_json else text)
    elif as_json:
        print(json.dumps(cards, indent=1))
    elif not cards:
        raise InputError(
            "no trained network is installed; train one with `pltutorial train style`, "
            "or install the package again"
        )
    else:
        for name, about in cards.items():
            more = about.get("layer", "")
            if about.get("factor", 1) > 1:
                more = f"x{about['factor']}"
            use = ", ".join(about.get("styles") or [f"{about['task']} {more}".rstrip()])
            print(f"{on_a_line(name):22} {about['bytes'] / 1e6:4.1f} MB  {use}")
