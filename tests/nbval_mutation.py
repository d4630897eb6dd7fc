"""A pytest plugin that tries the notebook comparison itself, beside the run whose
outputs it compares.

After a cell has passed, digits of its stored output are changed one at a time, and
nbval's own comparison must then see a difference to what the kernel has just computed.
So one execution serves both tests.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell, coalesce_streams

_report = {"cells": 0, "changed": 0, "unseen": []}


def pytest_addoption(parser):
    parser.addoption(
        "--mutation-report", help="JSON file for what became of the changed digits"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    if isinstance(item, IPyNbCell):
        _report["cells"] += 1
        if item.options["check"] and item.cell.outputs:
            try_changes(item)
    return result


def try_changes(item: IPyNbCell) -> None:
    stored = coalesce_streams(copy.deepcopy(item.cell.outputs))
    for what, changed in changed_outputs(stored, list(item.parent.sanitize_patterns)):
        _report["changed"] += 1
        if item.compare_outputs(copy.deepcopy(item.test_outputs), changed):
            _report["unseen"].append(f"{item.name}: {what}")


def changed_outputs(stored: list, sanitized: list[str]) -> Iterator[tuple[str, list]]:
    """Copies of the outputs, each with the first or the last digit of one text changed.

    Digits that the sanitising rules replace are not compared by intent,
    and are passed over.
    """
    for number, output in enumerate(stored):
        data = output.get("data", output)
        for key in ("text", "evalue", "text/plain", "text/html"):
            text = data.get(key)
            if not isinstance(text, str):
                continue
            left_out = [
                match.span() for rule in sanitized for match in re.finditer(rule, text)
            ]
            digits = [
                match.start()
                for match in re.finditer(r"[0-9]", text)
                if not any(start <= match.start() < end for start, end in left_out)
            ]
            for place in sorted({digits[0], digits[-1]}) if digits else ():
                copied = copy.deepcopy(stored)
                other = str((int(text[place]) + 1) % 10)
                copied[number].get("data", copied[number])[key] = (
                    text[:place] + other + text[place + 1 :]
                )
                yield f"{key} {text[max(0, place - 30) : place + 10]!r}", copied


def pytest_sessionfinish(session):
    if session.config.option.mutation_report:
        Path(session.config.option.mutation_report).write_text(
            json.dumps(_report), encoding="utf-8"
        )
