"""What was handed in: folders, flat files and zips as learning platforms give them.

Every file ends in a submission or in the list of what is left over, with the reason.
Nothing is followed out of the folder, and no file stops the search.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .assignments import CourseError

LARGEST = 100 * 2**20  # bytes of one notebook, with its outputs
LONGEST = 1_000_000  # characters of one cell; a longer one is not run
_ZIP_FILES, _ZIP_BYTES = 5_000, 2 * 2**30
_ZIP_DEPTH = 2  # a class's archive that holds students' archives
# Canvas names a file NAME_(LATE_)USER_SUBMISSION_FILE; others NAME_NUMBER_FILE.
_FLAT = re.compile(r"(?P<name>.+?)_(?:LATE_)?(?P<number>\d+)(?:_\d+)*_(?P<file>.+)")


@dataclass(frozen=True)
class Submission:
    """What a student handed in; `path` is None where nothing can be graded."""

    student: str
    assignment: str
    path: Path | None
    remark: str = ""


@dataclass(frozen=True)
class Leftover:
    """A file that no grade comes from, and why."""

    file: str
    why: str


@dataclass
class _Handed:
    """What was found of one student: files to look at, and remarks on the others."""

    files: list[tuple[Path, str]] = field(default_factory=list)  # and where they lay
    remarks: list[str] = field(default_factory=list)


def printable(text: str) -> str:
    """A name as it can be written anywhere: odd bytes and control
    characters as codes.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def collect(submitted: Path, names: dict[str, set[str]]) -> list[Submission]:
    """One entry for each student and each assignment that anybody handed in."""
    return collect_all(submitted, names)[0]


def collect_all(
    submitted: Path, names: dict[str, set[str]]
) -> tuple[list[Submission], list[Leftover]]:
    """Who handed in what, whatever the files are called, and what is left over.

    Args:
        submitted: the folder; students' folders, flat files and zips in any mixture.
        names: the marks of the cells (grade_id) of each assignment.

    Raises:
        CourseError: the folder does not exist or holds nothing.
    """
    if not submitted.is_dir():
        raise CourseError(
            f"{str(submitted)!r} is no folder; give one that holds "
            "student/assignment/*.ipynb"
        )
    left: list[Leftover] = []
    handed: dict[str, _Handed] = {}
    _gather(submitted, "", names, handed, left, 0)
    if not handed:
        hint = f" ({left[0].file}: {left[0].why})" if left else ""
        raise CourseError(
            f"nothing was handed in under {str(submitted)!r}{hint}; it must hold "
            "student/assignment/*.ipynb"
        )
    sorted_files = {who: _sorted(one, names) for who, one in handed.items()}
    wanted = [
        name for name in names if any(name in files for files in sorted_files.values())
    ]
    entries = []
    for who in sorted(handed):
        files, odd = sorted_files[who], handed[who].remarks
        spare = [path for _, path in files.get("", [])]
        left += [
            Leftover(f"{who}: {printable(path.name)}", _why_not(path)) for path in spare
        ]
        for assignment in wanted or list(names):
            entries.append(_entry(who, assignment, files, spare, odd, left))
    return entries, left


def _entry(who, assignment, files, spare, odd, left) -> Submission:
    """The best of a student's files for an assignment, or a remark
    that says why none.
    """
    found = files.get(assignment, [])
    if not found:
        what = ""
        if spare:
            why = _why_not(spare[0])
            what = f"; what is {printable(spare[0].name)}? ({why})"
        remark = "; ".join([f"nothing handed in{what}", *odd])
        return Submission(who, assignment, None, remark)
    # The file with most of the assignment's cells; of several such the last changed.
    best = max(found, key=lambda one: (one[0], _changed(one[1]), one[1].name))
    path = best[1]
    name = printable(path.name)
    remarks = (
        [] if path.name == f"{assignment}.ipynb" else [f"the file was named {name}"]
    )
    if len(found) > 1:
        remarks.append(f"{len(found)} files, this one graded")
        left += [
            Leftover(f"{who}: {printable(other.name)}", f"{name} was graded instead")
            for _, other in found
            if other != path
        ]
    return Submission(who, assignment, path, "; ".join([*remarks, *odd]))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _why_not(path: Path) -> str:
    try:
        read_cells(path)
    except ValueError as problem:
        return str(problem)
    return "a notebook of no assignment of this course"


def _sorted(
    handed: _Handed, names: dict[str, set[str]]
) -> dict[str, list[tuple[int, Path]]]:
    """A student's files by assignment, each with its number of
    known cells; "": none.
    """
    simple = {_simple(name): name for name in names}
    found: dict[str, list[tuple[int, Path]]] = {}
    for path, where in handed.files:
        marks = _marks(path)
        count, best = max(
            ((len(marks & known), name) for name, known in names.items()),
            default=(0, ""),
        )
        parts = [*where.split("/")[:-1], path.stem]
        folders = [simple[_simple(part)] for part in parts if _simple(part) in simple]
        inside = [
            name for key, name in simple.items() if _simple(path.stem).endswith(key)
        ]
        if count:
            assignment = best
        elif folders:
            assignment = folders[-1]
        else:
            assignment = max(inside, key=len, default="") if _is_notebook(path) else ""
        found.setdefault(assignment, []).append((count, path))
    return found


def _is_notebook(path: Path) -> bool:
    return path.suffix.lower() in (".ipynb", ".json", ".txt", "")


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# --- the folder -----------------------------------------------------------------------


def _gather(
    folder: Path,
    prefix: str,
    names: dict[str, set[str]],
    handed: dict[str, _Handed],
    left: list[Leftover],
    depth: int,
) -> None:
    """Students' folders, flat files and zips of one folder, and of the zips in it."""
    for path in _listed(folder, prefix, left):
        name = printable(path.name)
        shown = f"{prefix}{name}"
        kind = _kind(path)
        if kind == "link":
            handed.setdefault(_free(name, path), _Handed()).remarks.append(
                f"{name} is a link, and links are not followed"
            )
            left.append(Leftover(shown, "a link, and links are not followed"))
        elif name.startswith(".") or name == "__MACOSX":
            left.append(Leftover(shown, "its name begins with a dot, or is a system's"))
        elif kind == "folder":
            one = handed.setdefault(name, _Handed())
            _student(path, shown, one, left)
        elif kind != "file":
            left.append(Leftover(shown, f"{kind}, and no file"))
        elif path.suffix.lower() == ".zip":
            inside = _unpacked(path, shown, left)
            if inside is None:
                handed.setdefault(_student_of(path, names), _Handed()).remarks.append(
                    f"{name} could not be unpacked"
                )
            elif depth < _ZIP_DEPTH and _holds_a_class(inside, names):
                _gather(inside, f"{shown}/", names, handed, left, depth + 1)
            else:
                one = handed.setdefault(_student_of(path, names), _Handed())
                _student(inside, shown, one, left)
        elif path.suffix.lower() == ".ipynb" or _marks(path):
            one = handed.setdefault(_student_of(path, names), _Handed())
            one.files.append((path, name))
        else:
            left.append(Leftover(shown, "no notebook, and in no student's folder"))


def _listed(folder: Path, prefix: str, left: list[Leftover]) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as problem:
        why = f"it cannot be read ({problem.strerror})"
        left.append(Leftover(prefix or printable(str(folder)), why))
        return []


def _free(name: str, path: Path) -> str:
    return name.removesuffix(path.suffix) if path.suffix == ".ipynb" else name


def _kind(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "something that cannot be looked at"
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "a pipe, socket or device"


def _student(
    folder: Path,
    shown: str,
    one: _Handed,
    left: list[Leftover],
    depth: int = 0,
    zips: int = 0,
) -> None:
    """All files of a student's folder, at any depth, and those in its zips."""
    for path in _listed(folder, shown, left):
        name = printable(path.name)
        where = f"{shown}/{name}"
        kind = _kind(path)
        if kind == "link":
            one.remarks.append(f"{name} is a link, and links are not followed")
            left.append(Leftover(where, "a link, and links are not followed"))
        elif kind == "folder":
            if name in (".ipynb_checkpoints", "__MACOSX"):
                left.append(Leftover(where, "a copy that a program made for itself"))
            elif depth < 20:
                _student(path, where, one, left, depth + 1, zips)
            else:
                left.append(Leftover(where, "more than 20 folders deep"))
        elif kind != "file":
            one.remarks.append(f"{name} is {kind}")
            left.append(Leftover(where, f"{kind}, and no file"))
        elif path.suffix.lower() == ".zip" and zips == _ZIP_DEPTH:
            one.remarks.append(f"{name} is a zip in a zip in a zip")
            left.append(Leftover(where, "a zip in a zip in a zip"))
        elif path.suffix.lower() == ".zip":
            inside = _unpacked(path, where, left)
            if inside is None:
                one.remarks.append(f"{name} could not be unpacked")
            else:
                _student(inside, where, one, left, depth, zips + 1)
        elif name.startswith(".") and not (_marks(path) and not name.startswith("._")):
            left.append(Leftover(where, "its name begins with a dot"))
        else:
            one.files.append((path, where.partition("/")[2]))


def _student_of(path: Path, names: dict[str, set[str]]) -> str:
    """Whose flat file this is, as platforms name it; else its name
    without the task's.
    """
    stem = printable(path.stem)
    if found := _FLAT.fullmatch(stem):
        return f"{found['name']}_{found['number']}"
    for name in sorted(names, key=len, reverse=True):
        pattern = "[^A-Za-z0-9]*".join(re.escape(letter) for letter in _simple(name))
        rest = re.sub(rf"(?i)[\W_]*{pattern}[\W_]*", "", stem)
        if rest and rest != stem:
            return rest
    return stem


def _holds_a_class(folder: Path, names: dict[str, set[str]]) -> bool:
    """Whether what a zip held are several students' files, not the work of one."""
    own = {_simple(name) for name in names}
    entries = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    if any(_simple(path.stem) in own for path in entries):
        return False
    return len(entries) > 1 or (len(entries) == 1 and entries[0].is_dir())


# --- zips -----------------------------------------------------------------------------


def _unpacked(path: Path, shown: str, left: list[Leftover]) -> Path | None:
    """The files of a zip in a temporary folder; what cannot be
    unpacked is left over.
    """
    target = Path(tempfile.mkdtemp(prefix="grading-zip-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            for member, place in _members(archive, shown, left):
                file = target.joinpath(*place.parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, file.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                os.utime(file, (moment := _moment(member), moment))
    except Exception as problem:  # zipfile raises whatever its bytes lead it to
        why = " ".join(str(problem).split())[:200]
        left.append(Leftover(shown, f"a zip that cannot be unpacked ({why})"))
        return None
    return target


def _members(
    archive: zipfile.ZipFile, shown: str, left: list[Leftover]
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files that may be unpacked, each with a place inside of the folder."""
    members = archive.infolist()
    if len(members) > _ZIP_FILES:
        raise ValueError(f"more than {_ZIP_FILES} files")
    if sum(member.file_size for member in members) > _ZIP_BYTES:
        raise ValueError("more than 2 GB when it is unpacked")
    for member in members:
        if member.is_dir():
            continue
        place = PurePosixPath(member.filename.replace("\\", "/"))
        where = f"{shown}/{printable(member.filename)}"
        if place.is_absolute() or ".." in place.parts or not place.parts:
            left.append(Leftover(where, "its name leads out of the zip"))
        elif stat.S_ISLNK(member.external_attr >> 16):
            left.append(Leftover(where, "a link, and links are not followed"))
        elif member.file_size > LARGEST:
            left.append(Leftover(where, "larger than 100 MB"))
        else:
            yield member, place


def _moment(member: zipfile.ZipInfo) -> float:
    import time

    try:
        return time.mktime((*member.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


# --- notebooks ------------------------------------------------------------------------


def mark_of(cell: dict) -> str:
    """The name that nbgrader gave a cell, or ""."""
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return str(marks.get("grade_id", "")) if isinstance(marks, dict) else ""


def _marks(path: Path) -> set[str]:
    """The names of the cells in a file; none where it is no notebook."""
    try:
        return {mark_of(cell) for cell in read_cells(path)} - {""}
    except ValueError:
        return set()


def read_cells(path: Path) -> list[dict]:
    """The cells of a notebook of any version, without insisting that all is valid.

    Raises:
        ValueError: with a sentence, where this is no notebook.
    """
    return cells_of(_content(path))


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("the file is larger than 100 MB; clear its outputs")
        return path.read_bytes()
    except OSError as problem:
        raise ValueError(f"the file cannot be read ({problem.strerror})") from None


def cells_of(content: bytes) -> list[dict]:
    """The cells in a notebook's bytes; each has a type and its source as text.

    Raises:
        ValueError: with a sentence, where this is no notebook.
    """
    if not content.strip(b" \t\r\n\0"):
        raise ValueError("the file is empty")
    try:
        data = json.loads(_text(content))
    except (ValueError, RecursionError, MemoryError):
        raise ValueError("the file is no notebook") from None
    if not isinstance(data, dict):
        raise ValueError("the file is no notebook")
    found = data.get("cells")
    if "worksheets" in data:  # versions 2 and 3
        sheets = data["worksheets"]
        sheets = sheets if isinstance(sheets, list) else [sheets]
        found = [
            cell
            for sheet in sheets
            if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
            for cell in sheet["cells"]
        ]
    if not isinstance(found, list):
        raise ValueError("the file is no notebook")
    cells = [_cell(cell) for cell in found if isinstance(cell, dict)]
    if not cells:
        raise ValueError("the notebook has no cells")
    return cells


def _text(content: bytes) -> str:
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding, "surrogatepass")
    except ValueError:  # an editor of another alphabet
        return content.decode("utf-8-sig", "replace")


def _cell(cell: dict) -> dict:
    """A cell of any version as version 4 has it."""
    source = next((cell[key] for key in ("source", "input", "code") if key in cell), "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    kind = cell.get("cell_type")
    known = kind in ("code", "markdown", "raw")
    return {**cell, "cell_type": kind if known else "markdown", "source": source}
