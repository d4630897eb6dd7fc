"""Run the chapters, store their outputs, build the site. `make` calls it; so can you:
`python book/build.py site`.

book      run every chapter into build/executed/ (only what changed), then build the
          site from those runs
site      build the site from the outputs stored in notebooks/, without running
          anything; `--answers no`: for students
execute   run every chapter and refresh the outputs stored in notebooks/
times     run every chapter and note its seconds in notebooks/records/seconds.json;
          outputs stay as they are
slow      compare the stored outputs of the two quickest chapters with what a slow
          processor computes
portable  compare the stored outputs under other processors' instructions, threads
          and precisions
lock      resolve pyproject.toml into requirements.lock for Linux, macOS and Windows
"""

from __future__ import annotations

import signal
import sys


def stop_at_once(signum: int, frame: object) -> None:
    """Ctrl-C and SIGTERM while the imports below are under way."""
    print("stopped; nothing was begun", file=sys.stderr)
    sys.exit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop_at_once)
    signal.signal(signal.SIGTERM, stop_at_once)

import argparse
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import chapter_cards
import chapters
import checks
import front
import gallery
import reference
from execution import (
    CELL_TIMEOUT,
    ChapterFailed,
    Stopped,
    files_under,
    processor_kind,
    run_chapters,
    run_notebook,  # noqa: F401 - it stood here, and may be imported from here
    stopping_by_signals,
)
from web import PACKAGES, SOURCE, BuildError, fingerprint, stage_live

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, BUILD, LOCK = ROOT / "notebooks", ROOT / "build", ROOT / "requirements.lock"
# How most laptops compute: no instructions beyond AVX2, so no bfloat16.
SLOW = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
PORTABLE_RUNS = (
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"PLTUTORIAL_PRECISION": "float32"},
    {**SLOW, "OMP_NUM_THREADS": "1"},
    {**SLOW, "OMP_NUM_THREADS": "2"},
)


# --- the site -------------------------------------------------------------------------


def build_site(
    notebooks: Path,
    target: Path,
    *,
    answers: bool = True,
    failed: dict[str, ChapterFailed] | None = None,
) -> Path:
    """Build the site of book/ and the given notebooks; warnings are errors. Returns its
    first page.

    Without `answers` the solutions of the exercises are in no page and in no notebook
    that can be loaded down. A failed chapter's page has the outputs stored in
    notebooks/, and a mark that says so.
    """
    # The live page is laid out after the chapters and has a key of its own: a change of
    # it runs no Sphinx.
    live, failed = {*PACKAGES, *files_under(str(SOURCE))}, failed or {}
    sources = [
        *(
            path
            for path in files_under("book", "pltutorial", "data")
            if path not in live
        ),
        *chosen(notebooks, failed),
        *front.INGREDIENTS,
        LOCK,
    ]
    reasons = [f"{name}: {failure}" for name, failure in sorted(failed.items())]
    key, key_file, page = (
        fingerprint(sources, sys.version, *reasons),
        target / "key",
        target / "_build" / "html" / "index.html",
    )
    if not (page.exists() and key_file.exists() and key_file.read_text() == key):
        key_file.unlink(missing_ok=True)
        build_pages(notebooks, target, answers, failed)
        key_file.write_text(key)
    stage_live(page.parent)
    return page


def chosen(notebooks: Path, failed: dict[str, ChapterFailed]) -> list[Path]:
    """The file of each chapter: the given folder's, or the stored one where the chapter
    failed.
    """
    return [
        (NOTEBOOKS if chapter.name in failed else notebooks) / chapter.file
        for chapter in chapters.CHAPTERS
    ]


def build_pages(
    notebooks: Path, target: Path, answers: bool, failed: dict[str, ChapterFailed]
) -> None:
    """Have Sphinx set the pages and chapters anew."""
    tree = target / "source"
    stage(notebooks, tree, answers, failed)
    # Everything is read anew: docstrings are no file of the tree, so Sphinx would not
    # see them change.
    shutil.rmtree(target / "_build", ignore_errors=True)
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(tree),
    ]
    command += [
        "--config",
        str(tree / "book/_config.yml"),
        "--toc",
        str(tree / "book/_toc.yml"),
    ]
    command += ["--path-output", str(target), "-n", "-W", "--keep-going", "--quiet"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    # Jupyter Book's own closing lines name other paths; warnings and errors go to
    # stderr and are shown.
    if run_apart(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL):
        raise BuildError(
            "the site was not built: see the warnings above, each of which counts as "
            "an error"
        )


def run_apart(command: list[str], **how) -> int:
    """The exit code of a command that hears no Ctrl-C of ours, and ends with us: what
    it would say of that is no reader's business.
    """
    apart = os.name == "posix"
    process = subprocess.Popen(command, start_new_session=apart, **how)
    try:
        return process.wait()
    except BaseException:
        if apart:
            with contextlib.suppress(OSError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        raise


def stage(
    notebooks: Path, tree: Path, answers: bool, failed: dict[str, ChapterFailed]
) -> None:
    """Lay out pages and notebooks as in the repository, so that relative links work
    here and in Lab.
    """
    import yaml

    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "build.py", "live", "node_modules")
    shutil.copytree(ROOT / "book", tree / "book", ignore=ignored)
    (tree / "book/_toc.yml").write_text(
        yaml.safe_dump(chapters.contents(), sort_keys=False), encoding="utf-8"
    )
    for folder in ("content", "style"):
        shutil.copytree(ROOT / "data" / folder, tree / "data" / folder)
    gallery.stage(tree)
    chapter_cards.write_pictures(tree / "book" / "cards")
    for page in (
        tree / "book/index.md",
        tree / "book/_config.yml",
        tree / "book/judges.md",
        tree / "book/tested.md",
        *(tree / "book/teaching").glob("*.md"),
    ):
        page.write_text(front.fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    (tree / "notebooks").mkdir()
    for path in chosen(notebooks, failed):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        front.drop_badge(notebook)
        front.mark_curves(notebook)
        front.describe_panels(notebook)
        front.add_labs(path.stem, notebook)
        if answers:
            checks.add(path.stem, notebook)
        if path.stem in failed:
            mark(notebook, failed[path.stem])
        if not answers:
            notebook["cells"] = front.without_solutions(notebook["cells"])
        (tree / "notebooks" / path.name).write_text(
            json.dumps(notebook), encoding="utf-8"
        )
    reference.stage(tree)


def mark(notebook: dict, failure: ChapterFailed) -> None:
    """Say under a chapter's heading that its outputs are not of this machine."""
    reason = failure.reason.replace("`", "'")  # it cannot end the fence
    warning = (
        "````{warning}\n"
        "**This chapter did not run to its end on the machine that built this site.** "
        "The outputs below its code are those that are stored with the book; its tests "
        "verify them.\n\n"
        f"It stopped in {failure.place}:\n\n"
        f"```text\n{reason}\n```\n"
        "````"
    )
    first = notebook["cells"][0]
    heading, _, rest = "".join(first["source"]).partition("\n")
    first["source"] = f"{heading}\n\n{warning}\n{rest}"


# --- before a release -----------------------------------------------------------------


def check_portability() -> None:
    """Compare the stored outputs with what other processors, threads and precisions
    compute.
    """
    for settings in PORTABLE_RUNS:
        _compare(settings, "nbval")


def check_slow() -> None:
    """Compare two chapters with what a processor without bfloat16 computes; on such a
    one the tests do it for all.
    """
    if processor_kind() == "float32":
        print(
            "this processor has no bfloat16 of its own, so that the tests compare "
            "every chapter that way"
        )
        return
    names = [chapter.name for chapter in chapters.CHAPTERS]
    quickest = sorted(
        names, key=lambda name: chapters.expected_seconds([name], "float32") or 0
    )[:2]
    _compare(SLOW, f"nbval and ({' or '.join(sorted(quickest))})")


def _compare(settings: dict[str, str], which: str) -> None:
    print(" ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/test_notebooks.py",
        "-q",
        "-k",
        which,
    ]
    if run_apart(command, cwd=ROOT, env={**os.environ, **settings}):
        raise BuildError(f"the stored outputs do not hold under {settings}")


def resolve_lock() -> None:
    """Write requirements.lock: one exact version of everything, with markers for every
    platform.

    No hashes: builds of torch without CUDA have the same version and other hashes, and
    a machine that has one may use it. No addresses: where packages come from is the
    machine's own setting.
    """
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True
    )
    options = ["--universal", "--python-version", "3.11", "--all-extras", "--upgrade"]
    quiet = [
        "--quiet",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        *options,
        *quiet,
        "pyproject.toml",
    ]
    lines = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    header = (
        "# Exact versions for Linux, macOS and Windows. "
        "Made from pyproject.toml by `make lock`.\n"
    )
    LOCK.write_text(header + lines, encoding="utf-8")


def make_book() -> None:
    """Run the chapters and build the site of them, whichever fail.

    Raises:
        BuildError: the site was not built, or a chapter failed; then the site has its
            stored outputs.
        Stopped: see :func:`run_chapters`.
    """
    failed = run_chapters(BUILD / "executed", cached=True)
    print("building the site ...", flush=True)
    print(
        "open",
        build_site(BUILD / "executed", BUILD / "book", failed=failed),
        flush=True,
    )
    if failed:
        raise BuildError(
            f"{_named(failed)}; the site shows the stored outputs there, with a mark, "
            "and `make book` tries again"
        )


def _named(failed: dict[str, ChapterFailed]) -> str:
    count = "1 chapter" if len(failed) == 1 else f"{len(failed)} chapters"
    return f"{count} failed ({', '.join(sorted(failed))})"


def refresh(chapter: str, times_only: bool) -> None:
    """Run the chapters and keep their outputs in notebooks/, or their seconds only.

    Raises:
        BuildError: a chapter failed; its outputs are as they were.
        Stopped: see :func:`run_chapters`.
    """
    target = BUILD / "timed" if times_only else NOTEBOOKS
    if failed := run_chapters(target, cached=False, only=chapter, noted=True):
        raise BuildError(f"{_named(failed)}: {next(iter(failed.values()))}")


def make(what: str, chapter: str, *, answers: bool) -> None:
    """What the first word of the command line asks for."""
    if what == "book":
        make_book()
    elif what == "site":
        target = BUILD / ("site" if answers else "site-without-answers")
        print("open", build_site(NOTEBOOKS, target, answers=answers))
    elif what in ("execute", "times"):
        refresh(chapter, what == "times")
    elif what == "slow":
        check_slow()
    elif what == "portable":
        check_portability()
    else:
        resolve_lock()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=("book", "site", "execute", "times", "slow", "portable", "lock")
    )
    parser.add_argument(
        "chapter",
        nargs="?",
        default="",
        help="execute, times: only notebooks with this in their name",
    )
    parser.add_argument(
        "--answers",
        choices=("yes", "no"),
        default="yes",
        help="site: with or without the exercises' solutions",
    )
    parser.add_argument(
        "--cell-timeout",
        metavar="SECONDS",
        help=f"how long one cell may take (no limit; or {CELL_TIMEOUT})",
    )
    arguments = parser.parse_args()
    if arguments.cell_timeout:
        os.environ[CELL_TIMEOUT] = arguments.cell_timeout
    try:
        with stopping_by_signals():
            make(arguments.what, arguments.chapter, answers=arguments.answers == "yes")
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        kept = "the same command goes on from here"
        if stopped.count:
            kept = f"{stopped.done} of {stopped.count} chapters are kept, and the "
            kept += "same command goes on from there"
        print(f"stopped; {kept}", file=sys.stderr)
        return 128 + stopped.signum
    return 0


def leave(code: int) -> NoReturn:
    """End with this code; at once where a signal has ended the run: Python would wait
    for the sockets of a kernel that was killed, now and then without end.
    """
    if code < 128:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
