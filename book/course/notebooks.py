"""The chapters of the book as a class uses them: without solutions for students, with
open ones for the instructor.

The chapters in notebooks/ are the one source, and their folded solutions stay as they
are. The same chapter gives the same bytes.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from ..chapters import CHAPTERS, NOTEBOOKS
from .folders import check_clear, clear

ROOT = Path(__file__).resolve().parents[2]
_START, _END = "{solution-start}", "{solution-end}"
_DIRECTIVE = r"(?P<fence>:{3,}|`{3,})\{%s\}"
# Folded answers that stand in the text itself: in exercises they are answers too.
_FOLDED = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>solution|dropdown|admonition)\}(?P<title>"
    r"[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.M | re.S,
)
_EXERCISE = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{exercise\}[ "
    r"]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.M | re.S,
)
_PYTHON = re.compile(r"^```python\n(.*?)^```[ ]*$", re.M | re.S)


def student(notebook: NotebookNode) -> NotebookNode:
    """The chapter without any solution: each coding exercise has a stub and its check,
    each other one room to write.
    """
    return _converted(notebook, solved=False)


def instructor(notebook: NotebookNode) -> NotebookNode:
    """The chapter with its solutions open and marked as such."""
    return _converted(notebook, solved=True)


def write_all(target: Path) -> list[Path]:
    """Write student/ and instructor/ under the target folder, anew."""
    written, kinds = [], ("student", "instructor")
    for kind in kinds:  # both, before the first is written
        check_clear(target / kind, CHAPTERS[0].file, "records")
    for kind in kinds:
        clear(target / kind, CHAPTERS[0].file, "records")
        written += write_kind(kind, target / kind)
    return written


def write_kind(kind: str, folder: Path, *, keep: bool = False) -> list[Path]:
    """Write the notebooks of one kind, with the pictures and records that they use;
    `keep` leaves what is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(NOTEBOOKS / "records", folder / "records", dirs_exist_ok=True)
    written = []
    for path in (chapter.path for chapter in CHAPTERS):
        if keep and (folder / path.name).exists():
            continue
        source = nbformat.read(path, as_version=4)
        notebook = student(source) if kind == "student" else instructor(source)
        for picture in _localise(notebook):
            shutil.copyfile(NOTEBOOKS / picture, folder / Path(picture).name)
        write(notebook, folder / path.name)
        written.append(folder / path.name)
    return written


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole, with the same bytes on every system."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes((nbformat.writes(notebook) + "\n").encode("utf-8"))
    beside.replace(path)


def _converted(notebook: NotebookNode, *, solved: bool) -> NotebookNode:
    cells: list[NotebookNode] = []
    # the cells of the solution that is being read
    hidden: list[NotebookNode] | None = None
    statement, exercises = "", False
    for cell in notebook.cells:
        cell = cell.copy()
        markdown = cell.cell_type == "markdown"
        exercises = exercises or (
            markdown and re.search(r"^## Exercises", cell.source, re.M) is not None
        )
        if markdown and _START in cell.source:
            hidden = []
        elif markdown and _END in cell.source:
            cells += _solution(hidden or [], statement, cell["id"], solved)
            hidden = None
        elif hidden is not None:
            hidden.append(cell)
        else:
            if exercises and markdown:
                found = _EXERCISE.search(cell.source)
                statement = found["body"] if found else statement
                folded = re.search(_DIRECTIVE % "solution", cell.source)
                cell.source = _plain(cell.source, solved)
                cells.append(cell)
                if folded and not solved:
                    cells.append(
                        new_markdown_cell(
                            "*Your answer:*", id=f"{cell['id'][:55]}-answer"
                        )
                    )
                continue
            cells.append(cell)
    made = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    made.nbformat_minor = max(5, notebook.nbformat_minor)
    return made


def _solution(
    cells: list[NotebookNode], statement: str, identity: str, solved: bool
) -> list[NotebookNode]:
    """What stands where a solution was: itself, opened; or a stub, or room to write."""
    if solved:
        return [
            new_markdown_cell("**Solution**", id=f"{identity[:55]}-begin"),
            *map(_opened, cells),
        ]
    code = "\n\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    stub = stub_of(code, statement)
    if stub:
        return [new_code_cell(stub, id=f"{identity[:55]}-stub")]
    return [new_markdown_cell("*Your answer:*", id=f"{identity[:55]}-answer")]


def stub_of(solution: str, statement: str = "") -> str:
    """What a student starts from: the statement's own code, or each function's head;
    then the checks. "" without checks.
    """
    tree = ast.parse(_without_magics(solution))
    checks = [call for node in tree.body if (call := _check(node)) is not None]
    if not checks:
        return ""
    given = _PYTHON.search(statement)
    if given:
        parts = [given[1].rstrip()]
    else:
        parts = [_head(node) for node in tree.body if isinstance(node, ast.FunctionDef)]
        used = {
            node.id
            for check in checks
            for node in ast.walk(check)
            if isinstance(node, ast.Name)
        }
        # A check of a value, not of a function: its name is left to fill in.
        parts += [
            f"{target.id} = ...  # your answer"
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in used
        ]
    return "\n\n\n".join([*parts, "\n".join(ast.unparse(check) for check in checks)])


def _without_magics(code: str) -> str:
    return "\n".join(
        "" if line.lstrip().startswith(("%", "!")) else line
        for line in code.splitlines()
    )


def _check(node: ast.stmt) -> ast.Call | None:
    """The call of check_* in a statement at the top of a cell, with
    or without `assert`.
    """
    value = (
        node.test
        if isinstance(node, ast.Assert)
        else node.value
        if isinstance(node, ast.Expr)
        else None
    )
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id.startswith("check_")
    ):
        return value
    return None


def _head(function: ast.FunctionDef) -> str:
    """A function's signature and docstring, with nothing written yet."""
    body: list[ast.stmt] = [ast.parse("raise NotImplementedError").body[0]]
    if ast.get_docstring(function):
        body.insert(0, function.body[0])
    stub = ast.FunctionDef(
        **{**{name: getattr(function, name) for name in function._fields}, "body": body}
    )
    return ast.unparse(ast.fix_missing_locations(stub))


def _plain(text: str, solved: bool) -> str:
    """The exercise directive as an ordinary heading, its folded answers
    opened or taken away.
    """

    def folded(found: re.Match) -> str:
        answer = found["kind"] == "solution" or ":class: dropdown" in found["body"]
        if not answer and found["kind"] != "dropdown":
            return found[0]
        return f"**Solution**\n\n{_body(found['body'])}" if solved else ""

    text = _FOLDED.sub(folded, text)
    return _EXERCISE.sub(
        lambda found: f"### {found['title']}\n\n{_body(found['body'])}", text
    ).rstrip()


def _body(text: str) -> str:
    """A directive's body without its options."""
    return re.sub(r"\A(?::[\w-]+:[^\n]*\n)+\n?", "", text).strip()


def _opened(cell: NotebookNode) -> NotebookNode:
    """A solution's cell with its code in sight."""
    opened = cell.copy()
    opened.metadata = cell.metadata.copy()
    opened.metadata.pop("jupyter", None)
    tags = [tag for tag in cell.metadata.get("tags", []) if not tag.startswith("hide-")]
    if tags:
        opened.metadata["tags"] = tags
    else:
        opened.metadata.pop("tags", None)
    return opened


def _localise(notebook: NotebookNode) -> list[str]:
    """Make links into the repository plain text, and name the pictures that have to lie
    beside the notebook.
    """
    pictures: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        found = re.findall(
            r"\]\((\.\./[^)\s]+\.(?:jpe?g|png|svg|webp|avif))\)", cell.source
        )
        found += re.findall(r"\{(?:figure|image)\} (\.\./\S+)", cell.source)
        for picture in found:
            cell.source = cell.source.replace(picture, Path(picture).name)
        pictures += found
        cell.source = re.sub(
            r"(?<!!)\[([^\]\n]+)\]\(\.\./[^)\s]+\)", r"\1", cell.source
        )
    return pictures
