"""Run the chapters, store their outputs, build the site. `make` calls it; so can you: `python book/build.py site`.

book      run every chapter into build/executed/ (only what changed), then build the site from those runs
site      build the site from the outputs stored in notebooks/, without running anything; `--answers no`: for students
execute   run every chapter and refresh the outputs stored in notebooks/
portable  compare the stored outputs under other processors' instructions, threads and precisions
lock      resolve pyproject.toml into requirements.lock for Linux, macOS and Windows
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import front
import gallery
from web import PACKAGES, SOURCE, BuildError, fingerprint, stage_live

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, BUILD, LOCK = ROOT / "notebooks", ROOT / "build", ROOT / "requirements.lock"
SECONDS = NOTEBOOKS / "records" / "seconds.json"
CELL_TIMEOUT = 600
# One convention for runs: no progress bars in stored outputs, and no order that depends on a random hash seed.
RUN_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
    "JUPYTER_PLATFORM_DIRS": "1",
    "PLTUTORIAL_STATIC": "1",
}
PORTABLE_RUNS = (
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"PLTUTORIAL_PRECISION": "float32"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "2"},
)


def chapter_paths() -> list[Path]:
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def files_under(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [
        path for path in found if "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts
    ]


# --- running chapters -------------------------------------------------------------------------------------


def run_key(notebook) -> str:
    """What a chapter's outputs depend on: its code, the package, the pictures, the versions, the run's settings."""
    code = [f"{cell.cell_type}\0{cell.source}\0{cell.metadata.get('tags', [])}" for cell in notebook.cells]
    knobs = (
        "OMP_NUM_THREADS",
        "ONEDNN_MAX_CPU_ISA",
        "ATEN_CPU_CAPABILITY",
        "CUDA_VISIBLE_DEVICES",
        "PLTUTORIAL_PRECISION",
    )
    settings = [sys.version, *(f"{name}={os.environ.get(name)}" for name in knobs)]
    return fingerprint([*files_under("pltutorial", "data"), LOCK], *code, *settings)


def own_kernel():
    """A kernel manager for this very Python, whatever kernels the user has installed under the same name."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self):
            quiet = "--IPKernelApp.log_level=40"  # a remark about TCP at every start would hide real warnings
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", quiet]
            return KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python")

    return OwnKernel


def run_notebook(path: Path):
    """Run one notebook from notebooks/ and return it with clean outputs."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    name = f"{path.parent.name}/{path.name}"
    started = {"index": 0}
    client = NotebookClient(
        notebook,
        kernel_manager_class=own_kernel(),
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        on_cell_start=lambda cell, cell_index: started.update(index=cell_index),
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        if isinstance(error, CellExecutionError):
            reason = f"{error.ename}: {error.evalue}"
            print(error.traceback, file=sys.stderr)
        else:
            reason = "it ran out of time" if isinstance(error, CellTimeoutError) else "its kernel died"
        code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        count = code.index(started["index"]) + 1 if started["index"] in code else "?"
        place = f"{name}, cell {started['index'] + 1} (code cell {count})"
        reason = re.sub(r"\x1b\[[0-9;]*m", "", reason)
        raise BuildError(f"{place} failed: {reason}") from None
    return clean(notebook)


def clean(notebook):
    """Keep what a reader sees and drop what changes from run to run: times, widget state, versions."""
    count, seen = 0, set()
    for index, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{index:02d}"
        seen.add(cell["id"])
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
            cell.execution_count = count
        cell.outputs = joined_streams(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = cell.execution_count
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    language = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(kernelspec=kernel, language_info={**language, "pygments_lexer": "ipython3"})
    notebook.nbformat_minor = max(5, notebook.nbformat_minor)
    return notebook


def joined_streams(outputs: list) -> list:
    """How a stream is cut into pieces is chance: join neighbours."""
    joined: list = []
    for output in outputs:
        if (
            joined
            and output.output_type == "stream" == joined[-1].output_type
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def write_notebook(notebook, path: Path) -> None:
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    nbformat.write(notebook, beside)
    beside.replace(path)  # never half a notebook


def run_chapters(target: Path, *, cached: bool, only: str = "") -> None:
    """Run every chapter into the target folder; with `cached`, only those whose ingredients changed."""
    import nbformat

    os.environ.update(RUN_ENVIRONMENT)
    chapters = [path for path in chapter_paths() if only in path.name]
    if not chapters:
        raise BuildError(f"there is no chapter {only!r} in notebooks/")
    for path in target.glob("*.ipynb") if cached else ():
        if path.name not in {chapter.name for chapter in chapters}:
            path.unlink()  # a chapter that was renamed or removed
    failures = []
    for path in chapters:
        key_file, key = target / f"{path.stem}.key", run_key(nbformat.read(path, as_version=4))
        done = target / path.name
        if cached and done.exists() and key_file.exists() and key_file.read_text() == key:
            refresh_text(path, done)
            print(f"{path.stem}: unchanged", flush=True)
            continue
        print(f"{path.stem}: running ...", end=" ", flush=True)
        started = time.perf_counter()
        try:
            write_notebook(run_notebook(path), done)
        except BuildError as error:
            print("failed", flush=True)
            failures.append(str(error))
            continue
        if cached:
            key_file.write_text(key)
        else:
            note_seconds(path.stem, time.perf_counter() - started)
        print(f"{time.perf_counter() - started:.1f} s", flush=True)
    if failures:
        raise BuildError("; ".join(failures))


def note_seconds(chapter: str, seconds: float) -> None:
    """Keep how long a chapter took, for the teaching pages; `execute` is meant for a machine that does nothing else."""
    import torch

    from pltutorial.training.cards import processor

    known = json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {"seconds": {}}
    known["what"] = "seconds that `make execute` took for each chapter, the kernel's start included"
    known["machine"] = processor(torch.device("cpu"))
    known["seconds"] = dict(sorted({**known["seconds"], chapter: round(seconds, 1)}.items()))
    SECONDS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def refresh_text(source: Path, done: Path) -> None:
    """Take over captions and other metadata that the key leaves out, keeping the outputs of the run."""
    import nbformat

    new, old = nbformat.read(source, as_version=4), nbformat.read(done, as_version=4)
    for fresh, ran in zip(new.cells, old.cells, strict=True):
        if fresh.cell_type == "code":
            fresh.outputs, fresh.execution_count = ran.outputs, ran.execution_count
    write_notebook(clean(new), done)


# --- the site ---------------------------------------------------------------------------------------------


def build_site(notebooks: Path, target: Path, *, answers: bool = True) -> Path:
    """Build the site of book/ and the given notebooks; warnings are errors. Returns its first page.

    Without `answers` the solutions of the exercises are in no page and in no notebook that can be loaded down.
    """
    # The live page is laid out after the chapters and has a key of its own: a change of it runs no Sphinx.
    live = {*PACKAGES, *files_under(str(SOURCE))}
    sources = [
        *(path for path in files_under("book", "pltutorial", "data") if path not in live),
        *sorted(notebooks.glob("[0-9][0-9]_*.ipynb")),
        *front.INGREDIENTS,
        LOCK,
    ]
    key, key_file, page = (
        fingerprint(sources, sys.version),
        target / "key",
        target / "_build" / "html" / "index.html",
    )
    if not (page.exists() and key_file.exists() and key_file.read_text() == key):
        key_file.unlink(missing_ok=True)
        build_pages(notebooks, target, answers)
        key_file.write_text(key)
    stage_live(page.parent)
    return page


def build_pages(notebooks: Path, target: Path, answers: bool) -> None:
    """Have Sphinx set the pages and chapters anew."""
    tree = target / "source"
    stage(notebooks, tree, answers)
    # Everything is read anew: docstrings are no file of the tree, so Sphinx would not see them change.
    shutil.rmtree(target / "_build", ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(tree)]
    command += ["--config", str(tree / "book/_config.yml"), "--toc", str(tree / "book/_toc.yml")]
    command += ["--path-output", str(target), "-n", "-W", "--keep-going", "--quiet"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    # Jupyter Book's own closing lines name other paths; warnings and errors go to stderr and are shown.
    if subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL).returncode:
        raise BuildError("the site was not built: see the warnings above, each of which counts as an error")


def stage(notebooks: Path, tree: Path, answers: bool) -> None:
    """Lay out pages and notebooks as in the repository, so that relative links work here and in Lab."""
    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "build.py", "live", "node_modules")
    shutil.copytree(ROOT / "book", tree / "book", ignore=ignored)
    for folder in ("content", "style"):
        shutil.copytree(ROOT / "data" / folder, tree / "data" / folder)
    gallery.stage(tree)
    for page in (tree / "book/index.md", tree / "book/_config.yml", *(tree / "book/teaching").glob("*.md")):
        page.write_text(front.fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    (tree / "notebooks").mkdir()
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        front.mark_curves(notebook)
        if not answers:
            notebook["cells"] = front.without_solutions(notebook["cells"])
        (tree / "notebooks" / path.name).write_text(json.dumps(notebook), encoding="utf-8")


# --- before a release -------------------------------------------------------------------------------------


def check_portability() -> None:
    """Compare the stored outputs with what other processors, threads and precisions compute."""
    for settings in PORTABLE_RUNS:
        print(" ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
        command = [sys.executable, "-m", "pytest", "tests/test_notebooks.py", "-q", "-k", "nbval"]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}).returncode:
            raise BuildError(f"the stored outputs do not hold under {settings}")


def resolve_lock() -> None:
    """Write requirements.lock: one exact version of everything, with markers for every platform.

    No hashes: builds of torch without CUDA have the same version and other hashes, and a machine that has one
    may use it. No addresses: where packages come from is the machine's own setting.
    """
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    options = ["--universal", "--python-version", "3.11", "--all-extras", "--upgrade"]
    quiet = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command = [sys.executable, "-m", "uv", "pip", "compile", *options, *quiet, "pyproject.toml"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    header = "# Exact versions for Linux, macOS and Windows. Made from pyproject.toml by `make lock`.\n"
    LOCK.write_text(header + lines, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("book", "site", "execute", "portable", "lock"))
    parser.add_argument(
        "chapter", nargs="?", default="", help="execute: only notebooks with this in their name"
    )
    parser.add_argument(
        "--answers",
        choices=("yes", "no"),
        default="yes",
        help="site: with or without the exercises' solutions",
    )
    what, chapter = (arguments := parser.parse_args()).what, arguments.chapter
    try:
        if what == "book":
            run_chapters(BUILD / "executed", cached=True)
            print("open", build_site(BUILD / "executed", BUILD / "book"))
        elif what == "site":
            answers = arguments.answers == "yes"
            target = BUILD / ("site" if answers else "site-without-answers")
            print("open", build_site(NOTEBOOKS, target, answers=answers))
        elif what == "execute":
            run_chapters(NOTEBOOKS, cached=False, only=chapter)
        elif what == "portable":
            check_portability()
        else:
            resolve_lock()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
