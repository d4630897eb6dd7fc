"""What befalls a command from outside, as real processes: it is killed, stopped or
asked to end, its disk is full, its streams are closed, memory and files are rationed,
two runs want one folder. Prints a table; exits 1 if a row does not hold::

    python -m benchmarks.trouble [--write] [kill signals ... together service]
    python -m benchmarks.trouble [--write] --rows "serve|data coco"

A quarter of an hour on two cores, so it is no part of the tests. Nothing is filled but
``/dev/full``, and nothing is written outside a temporary folder. ``--write`` puts what
was found into ``benchmarks/trouble.json``, each part for itself; rows that were chosen
go beside those that are there, with the commit that they were tried at.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from . import trouble_service
from .trouble_service import heeding, limited

RECORD = Path(__file__).with_suffix(".json")
PROGRAM = [sys.executable, "-m", "pltutorial"]
TINY = "--steps 24 --size 32 --batch-size 2 --width 4 --log-every 2 --no-progress"
TINY += " --sample-every 4 --checkpoint-every 3 --precision float32 --device cpu"
TRAIN = f"train denoise --blocks 1 --feature-layers relu1_2 {TINY}"
DIFFUSE = "train diffuse --channels 8,8,16 --steps 4 --size 16 --batch-size 2"
DIFFUSE += " --no-progress --checkpoint-every 1 --sample-every 4 --device cpu"
SLOW = "--sizes 96 --steps 6"
# Words, and what they write; every picture is made from `in.png`.
COMMANDS = {
    "transfer": (f"transfer in.png poppies -o out.png {SLOW}", "out.png"),
    "reconstruct": (f"reconstruct in.png -o out.png {SLOW}", "out.png"),
    "texture": (f"texture poppies -o out.png {SLOW}", "out.png"),
    "stylize": ("stylize in.png --style poppies -o out.png", "out.png"),
    "stylize FOLDER": ("stylize album --style poppies -o out", ""),
    "stylize GIF": ("stylize in.gif --style poppies -o out.gif", "out.gif"),
    "stylize like a file": ("stylize in.png --style album/a.png -o out.png", "out.png"),
    "stylize --refine": (
        "stylize in.png --style poppies --size 48 --refine 2 -o out.png",
        "out.png",
    ),
    "colorize": ("colorize in.png -o out.png", "out.png"),
    "upscale": ("upscale in.png -o out.png", "out.png"),
    "denoise": ("denoise in.png -o out.png", "out.png"),
    "deblur": ("deblur in.png -o out.png", "out.png"),
    "inpaint": ("inpaint in.png mask.png -o out.png", "out.png"),
    "invert": ("invert in.png -o out.png", "out.png"),
    "sample": ("sample -o out.png", "out.png"),
    "sample by diffusion": (
        "sample --loss diffusion --count 2 --steps 4 -o out.png",
        "out.png",
    ),
    "compare": ("compare in.png in.png --csv", ""),
    "measure": ("measure album album --size 32 --json", ""),
    "export": ("export denoise_combined -o out.onnx", "out.onnx"),
    "export for computers": (
        "export great_wave --runtime native -o out.onnx",
        "out.onnx",
    ),
    "train": (f"{TRAIN} -o run", ""),
    "train diffuse": (f"{DIFFUSE} --data album -o run", ""),
    "styles": ("styles", ""),
    "models": ("models --json", ""),
    "doctor": ("doctor", ""),
    "progress": ("progress", ""),
}
# What goes on until it is stopped, and what shows that it is at work.
ENDLESS = {
    "serve": "serve album --port 0",
    "data coco": "data coco val2017 --to coco --no-progress --url {url}",
}
OLD = b"what was there before"


class Trouble:
    """One command at work in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "PLTUTORIAL_PROGRESS": str(folder / "progress.sqlite"),
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        }
        noise = Image.effect_noise((160, 120), 90).convert("RGB")
        noise.save(folder / "in.png")
        noise.save(folder / "in.gif", save_all=True, append_images=[noise] * 3)
        mask = Image.new("L", (160, 120))
        mask.paste(255, (40, 40, 60, 60))
        mask.save(folder / "mask.png")
        (folder / "album").mkdir()
        for name in "abcd":
            noise.save(folder / "album" / f"{name}.png")

    def start(self, words: str, before=(), **how) -> subprocess.Popen:
        """The command, with both streams kept."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*before, *PROGRAM, *words.split()],
            **{**pipes, "cwd": self.folder, "env": self.environment, **how},
        )

    def finish(self, words: str, **how) -> tuple[int, str]:
        """Its exit code and what it said on standard error."""
        process = self.start(words, **how)
        _, errors = process.communicate(timeout=300)
        return process.returncode, (errors or b"").decode(errors="replace")

    def faults(self, code: int, errors: str, codes: tuple[int, ...]) -> list[str]:
        """What is wrong with how a command ended."""
        found = []
        if code not in codes:
            found.append(f"exit {code}")
        if "Traceback" in errors or "Exception ignored" in errors:
            found.append("a traceback")
        said = errors.splitlines()
        if code and len(said) != 1:
            found.append(f"{len(said)} lines: {' / '.join(said)[-200:]}")
        left = [*self.folder.rglob(".pltutorial-*"), *self.folder.rglob(".lock")]
        return found + [f"{path.name} is left" for path in left]


_rows: list[str] = []  # a pattern of the names that are tried; of all if empty


def chosen(commands: dict) -> dict:
    """Those whose names were asked for."""
    return {
        name: how
        for name, how in commands.items()
        if all(re.fullmatch(pattern, name) for pattern in _rows)
    }


def _whole(path: Path) -> bool:
    """Whether a file is the one before, or a new one that can be read to its end."""
    if path.read_bytes() == OLD or path.suffix == ".onnx":
        return True
    with Image.open(path) as picture:
        picture.load()
    return True


def signals(each: Callable) -> None:
    """SIGINT and SIGTERM at three moments of every command."""
    for name, (words, output) in chosen(COMMANDS).items():
        with each("signals", name) as (trouble, wrong):
            begin = time.monotonic()
            code, errors = trouble.finish(words)
            seconds = time.monotonic() - begin
            wrong(trouble.faults(code, errors, (0, 1) if name == "doctor" else (0,)))
            for number in (signal.SIGINT, signal.SIGTERM):
                for share in (0.3, 0.6, 0.9):
                    if output:
                        (trouble.folder / output).write_bytes(OLD)
                    process = trouble.start(
                        words, preexec_fn=heeding, start_new_session=True
                    )
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(share * seconds)
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)  # as a terminal does
                    errors = process.communicate(timeout=120)[1].decode()
                    if process.returncode == -number and not errors:
                        continue  # before Python was there, or after it
                    codes = (0, 128 + number)
                    faults = trouble.faults(process.returncode, errors, codes)
                    if output and not _whole(trouble.folder / output):
                        faults.append("half an output")
                    wrong([f"{number.name} at {share}: {one}" for one in faults])
    with _slow_mirror() as url:
        for name, words in chosen(ENDLESS).items():
            with each("signals", name) as (trouble, wrong):
                _stopped(trouble, wrong, words.format(url=url))


def _stopped(trouble: Trouble, wrong: Callable, words: str) -> None:
    """The two signals while a command loads that never ends, and twice at its work."""
    seconds = 0.0
    for moment in ("at work", "loading", "at work for a second"):
        for number in (signal.SIGINT, signal.SIGTERM):
            begin = time.monotonic()
            process = trouble.start(words, preexec_fn=heeding, start_new_session=True)
            if moment == "loading":
                time.sleep(seconds / 2)
            else:
                _await_work(trouble, process)
                seconds = seconds or time.monotonic() - begin
                time.sleep(moment != "at work")
            os.killpg(process.pid, number)
            errors = process.communicate(timeout=120)[1].decode()
            faults = trouble.faults(process.returncode, errors, (128 + number,))
            wrong([f"{number.name} {moment}: {one}" for one in faults])


def _await_work(trouble: Trouble, process: subprocess.Popen) -> None:
    """Until the server says where it is, or more of the download is there."""
    if process.args[-1] == "0":
        process.stdout.readline()
        return
    part = trouble.folder / "coco" / "val2017.zip.part"
    before = part.stat().st_size if part.exists() else 0
    while process.poll() is None and (
        not part.exists() or part.stat().st_size == before
    ):
        time.sleep(0.02)


@contextlib.contextmanager
def _slow_mirror() -> Iterator[str]:
    """The address of a server that gives out a zip for hours."""
    from pltutorial.training.download import COCO

    class Mirror(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = COCO["val2017"].size
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(size - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
                    time.sleep(0.05)

        def log_message(self, *given) -> None:
            """Requests are not printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def kill(each: Callable) -> None:
    """Twenty SIGKILLs of a training, which then ends as if there had been none."""
    chance = random.Random(0)
    with each("kill", "train, never killed") as (trouble, wrong):
        begin = time.monotonic()
        code, errors = trouble.finish(f"{TRAIN} -o run")
        seconds = time.monotonic() - begin
        wrong(trouble.faults(code, errors, (0,)))
        whole = _end(trouble.folder / "run")
    for number, kills in enumerate((3, 2, 3, 2, 3, 2, 3, 2)):
        with each("kill", f"train, run {number}, {kills} SIGKILLs") as (trouble, wrong):
            for _ in range(kills):
                process = trouble.start(f"{TRAIN} -o run")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds * (0.4 + 0.6 * chance.random()))
                process.kill()
                process.communicate()
            code, errors = trouble.finish(f"{TRAIN} -o run")
            wrong(trouble.faults(code, errors, (0,)))
            if _end(trouble.folder / "run") != whole:
                wrong(["it ended otherwise"])


def _end(run: Path) -> tuple:
    """What a run leaves, less the seconds that it took."""
    import torch

    state = torch.load(run / "checkpoint.pt", weights_only=True)
    state = {name: state[name] for name in ("network", "optimizer", "average", "step")}
    rows = (run / "log.csv").read_text().splitlines()
    samples = [path.read_bytes() for path in sorted((run / "samples").iterdir())]
    return str(state), [row.rpartition(",")[0] for row in rows], samples


def streams(each: Callable) -> None:
    """Streams that are closed, full or of another encoding."""
    name = os.fsdecode(b"M\xfcller \xf0\x9f\x8e\xa8.png")
    shell = " ".join(map(str, PROGRAM))
    endings = {
        "> /dev/full": (1,),
        ">&-": (0,),
        "2> /dev/full": (0,),
        "2>&-": (0,),
        "<&-": (0,),
        "<&- >&- 2>&-": (0,),
        "| true": (0,),
    }
    for command in ("stylize", "stylize FOLDER", "styles", "models", "progress"):
        words, output = COMMANDS[command]
        for ending, codes in endings.items():
            with each("streams", f"{command} {ending}") as (trouble, wrong):
                line = f"{shell} {words} {ending}"
                code, errors = _shell(trouble, line)
                wrong(trouble.faults(code, errors, codes))
                if output:
                    with Image.open(trouble.folder / output) as picture:
                        picture.load()
    for ending, codes in {
        "-o - >&-": (2,),
        "-o - > /dev/full": (2,),
        "-o - | true": (0,),
        "-o missing/out.png 2> /dev/full": (2,),
        "-o missing/out.png 2>&-": (2,),
    }.items():
        with each("streams", f"stylize {ending}") as (trouble, wrong):
            code, errors = _shell(
                trouble, f"{shell} stylize in.png --style poppies {ending}"
            )
            faults = trouble.faults(code, errors, codes)
            quiet = "2>" in ending and [one for one in faults if "0 lines" in one]
            wrong([] if quiet == faults else faults)
    for encoding in ("ascii", "utf-8:strict", "latin-1", "cp437"):
        with each("streams", f"a name of bytes, {encoding}") as (trouble, wrong):
            (trouble.folder / "in.png").rename(trouble.folder / name)
            trouble.environment["PYTHONIOENCODING"] = encoding
            process = subprocess.run(
                [*PROGRAM, "stylize", name, "--style", "poppies", "-o", f"o{name}"],
                cwd=trouble.folder,
                env=trouble.environment,
                capture_output=True,
            )
            errors = process.stderr.decode(errors="replace")
            wrong(trouble.faults(process.returncode, errors, (0,)))
            if not (trouble.folder / f"o{name}").exists():
                wrong(["no picture"])


def _shell(trouble: Trouble, line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=trouble.folder,
        env=trouble.environment,
        capture_output=True,
    )
    return done.returncode, done.stderr.decode(errors="replace")


def disk(each: Callable) -> None:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    for name in ("stylize", "stylize GIF", "export", "train"):
        for most in (0, 600, 4096):
            with each("disk", f"{name}, {most} bytes") as (trouble, wrong):
                words, output = COMMANDS[name]
                if output:
                    (trouble.folder / output).write_bytes(OLD)
                limit = limited(resource.RLIMIT_FSIZE, most)
                code, errors = trouble.finish(words, preexec_fn=limit)
                wrong(trouble.faults(code, errors, (2,)))
                if output and (trouble.folder / output).read_bytes() != OLD:
                    wrong(["the old output is gone"])
                if name == "train":
                    wrong(trouble.faults(*trouble.finish(words), (0,)))


def limits(each: Callable) -> None:
    """Little memory, and few open files."""
    rows = {}
    for name in ("transfer", "stylize", "denoise", "export", "train", "models"):
        for megabytes in (200, 400, 800, 1200, 1600):
            limit = limited(resource.RLIMIT_AS, megabytes * 10**6)
            rows[f"{name}, {megabytes} MB"] = name, limit
        for files in (6, 12):
            limit = limited(resource.RLIMIT_NOFILE, files)
            rows[f"{name}, {files} open files"] = name, limit
    for row, (name, limit) in chosen(rows).items():
        with each("limits", row) as (trouble, wrong):
            code, errors = trouble.finish(COMMANDS[name][0], preexec_fn=limit)
            wrong(trouble.faults(code, errors, (0, 1, 2)))


def together(each: Callable) -> None:
    """Two runs in one folder, begun at once."""
    for number in range(3):
        with each("together", f"two runs at once, try {number}") as (trouble, wrong):
            pair = [trouble.start(f"{TRAIN} -o run") for _ in range(2)]
            said = [process.communicate()[1].decode() for process in pair]
            codes = sorted(process.returncode for process in pair)
            if codes != [0, 2]:
                wrong([f"exit codes {codes}"])
            refused = next((text for text in said if "in use by process" in text), "")
            winner = next(one.pid for one in pair if one.returncode == 0)
            if f"process {winner} on " not in refused:
                wrong([f"the second was told: {refused or said}"])
            lines = (trouble.folder / "run" / "log.csv").read_text().splitlines()
            if len(lines) != 13:
                wrong([f"{len(lines)} lines of the log"])


def service(each: Callable) -> None:
    """What befalls a service with pictures at work and waiting."""
    for name, befalls in chosen(trouble_service.rows()).items():
        with each("service", name) as (trouble, wrong):
            befalls(trouble, wrong)


PARTS = {
    "kill": kill,
    "signals": signals,
    "streams": streams,
    "disk": disk,
    "limits": limits,
    "together": together,
    "service": service,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--write", action="store_true", help=f"into {RECORD.name}")
    parser.add_argument(
        "--rows",
        metavar="PATTERN",
        help="some rows of signals, limits or service (of signals if none is named)",
    )
    given = parser.parse_args()
    parts = given.parts or list(PARTS)
    if given.rows:
        parts, _rows[:] = given.parts or ["signals"], [given.rows]
    tally: dict[str, dict[str, str]] = {}

    @contextlib.contextmanager
    def each(part: str, name: str):
        faults: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield Trouble(Path(folder)), faults.extend
            except Exception as problem:
                faults.append(f"{type(problem).__name__}: {problem}")
        held = "held" if not faults else "; ".join(faults)
        tally.setdefault(part, {})[name] = held
        print(f"| {part} | {name} | {held} |", flush=True)

    print("| part | what | outcome |\n|---|---|---|")
    for part in parts:
        PARTS[part](each)
        if given.write:
            write(part, tally[part])
    print("\n| part | rows | fell short |\n|---|---|---|")
    for part, rows in tally.items():
        print(f"| {part} | {len(rows)} | {_short(rows)} |")
    return int(any(map(_short, tally.values())))


def _short(rows: dict[str, str]) -> int:
    return sum(outcome != "held" for outcome in rows.values())


def write(part: str, rows: dict[str, str]) -> None:
    """Put a part into the record."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=RECORD.parent, capture_output=True, text=True)
    if _rows:
        later = record.setdefault(part, {}).setdefault("rows tried later", {})
        later |= {
            name: {"commit": commit.stdout.strip(), "outcome": outcome}
            for name, outcome in rows.items()
        }
    else:
        record[part] = _of_all(rows, commit.stdout.strip())
    text = json.dumps(
        {name: record[name] for name in PARTS if name in record}, indent=1
    )
    RECORD.write_text(text + "\n", encoding="utf-8")


def _of_all(rows: dict[str, str], commit: str) -> dict:
    return {
        "commit": commit,
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}"
        ),
        "rows": len(rows),
        "held": len(rows) - _short(rows),
        "outcomes": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
