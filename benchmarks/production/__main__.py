"""What chapter 14 is told by: `OMP_NUM_THREADS=1 python -m benchmarks.production
[--part huge|int8|video|runtimes]`.

Each part is a module beside this one and takes one to eight minutes of a core; without
--part all of them run. Writes notebooks/records/production.json, part by part.
"""

from __future__ import annotations

from book import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import argparse
import importlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.restoration import store
from benchmarks.side import machine

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "notebooks" / "records" / "production.json"
PARTS = ("huge", "int8", "video", "runtimes")
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.production"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, help="this part alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in (given.part,) if given.part else PARTS:
        found = importlib.import_module(f"benchmarks.production.{name}").measured()
        record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
        record = {"what": "networks in use, measured", **record}
        record[name] = {
            "command": f"{COMMAND} --part {name}",
            "machine": machine(torch.device("cpu")),
            "date": datetime.now(UTC).date().isoformat(),
            "torch": version("torch"),
            **found,
        }
        store(RECORD, record)
        print(json.dumps(record[name], indent=1))


if __name__ == "__main__":
    main()
