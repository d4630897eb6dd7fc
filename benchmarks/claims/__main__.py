"""`python -m benchmarks.claims --write [SECTION ...]`; see the package."""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version

import torch

from pltutorial.errors import InputError

from .. import side
from ..restoration import store
from . import __doc__ as about
from .attacks import attacks
from .convergence import convergence
from .modes import modes
from .refined import conditions, layers, misaligned, prior
from .training import ROOT, SEEDS

RECORD = ROOT / "notebooks" / "records" / "claims.json"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.claims --write"
SECTIONS = {
    section.__name__: section
    for section in (
        misaligned,
        layers,
        prior,
        conditions,
        convergence,
        modes,
        attacks,
    )
}


def known() -> dict:
    """The sections that the record has."""
    return json.loads(RECORD.read_text())["sections"] if RECORD.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", choices=[*SECTIONS, []]
    )
    parser.add_argument("--write", action="store_true", help="into the record")
    given = parser.parse_args()
    for name, section in SECTIONS.items():
        if given.sections and name not in given.sections:
            continue
        if not given.sections and name in known():
            continue
        begin = time.process_time()
        found = section()
        seconds = round(time.process_time() - begin)
        print(f"{name}: {seconds} s", flush=True)
        if given.write:
            # read again: another process may have written another section
            every = known() | {name: {"seconds": seconds} | found}
            sections = {n: every[n] for n in SECTIONS if n in every}
            store(
                RECORD,
                {
                    "what": "promises of perceptual losses, three seeds each",
                    "command": COMMAND,
                    "machine": side.machine(torch.device("cpu")),
                    "versions": {
                        n: version(n)
                        for n in ("torch", "scikit-image", "stlpips_pytorch")
                    },
                    "seeds": list(SEEDS),
                    "sections": sections,
                },
            )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        sys.exit(f"error: {problem}")
