"""The reader's own record of the exercises she tried."""

from __future__ import annotations


def record(chapter: int, label: str, check: str, right: bool) -> None:
    """Note one try of an exercise in the reader's record."""
